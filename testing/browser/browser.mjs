// Which Chromium is driven: the one that CHROMIUM names, the machine's, or Playwright's own.
// As a program it tells by its exit code whether that is there.

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const PACKAGED = "/usr/bin/chromium";

export function browser() {
  return process.env.CHROMIUM ?? (existsSync(PACKAGED) ? PACKAGED : chromium.executablePath());
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exit(existsSync(browser()) ? 0 : 1);
