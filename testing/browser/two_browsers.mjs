// Two Chromium with fake microphones meet in one room; each must receive the other's voice through the SFU.
//
//   node two_browsers.mjs URL ROOM [--map HOST=IP] [--screenshots DIR]
//
// Prints what it measured as JSON; exits with 0 when every check held.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { chromium } from "playwright-core";

import { browser } from "./browser.mjs";

/** Generous, as machines are shared. Nothing asserts a speed by it. */
const DEADLINE_MS = 180_000;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { map: { type: "string" }, screenshots: { type: "string" } },
});
const [url, room] = positionals;
if (!url || !room) {
  console.error("usage: node two_browsers.mjs URL ROOM [--map HOST=IP] [--screenshots DIR]");
  process.exit(2);
}

function flags() {
  const flags = [
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    // Browsers give the microphone to secure origins only; over plain HTTP the test vouches for its own.
    `--unsafely-treat-insecure-origin-as-secure=${new URL(url).origin}`,
  ];
  if (options.map) flags.push(`--host-resolver-rules=MAP ${options.map.replace("=", " ")}`);
  return flags;
}

/** A browser of its own, as a second person has. */
async function open(name, profile) {
  const context = await chromium.launchPersistentContext(join(profile, name), {
    executablePath: browser(),
    headless: true,
    chromiumSandbox: false,
    args: flags(),
    ignoreHTTPSErrors: true,
    viewport: { width: 900, height: 640 },
  });
  // The page keeps its connection to itself; the test listens in.
  await context.addInitScript(() => {
    window.connections = [];
    window.RTCPeerConnection = class extends RTCPeerConnection {
      constructor(...settings) {
        super(...settings);
        window.connections.push(this);
      }
    };
  });
  const page = context.pages()[0] ?? (await context.newPage());
  page.setDefaultTimeout(DEADLINE_MS);
  const log = [];
  page.on("console", (message) => log.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => log.push(`error: ${error.message}`));
  return { name, context, page, log };
}

async function enter({ name, page }) {
  await page.goto(`${url.replace(/\/$/, "")}/${room}`);
  await page.getByLabel("Your name").fill(name);
  await page.getByRole("button", { name: "Join" }).click();
}

/** Sums over all lines on which voice comes in. */
function inbound({ page }) {
  return page.evaluate(async () => {
    const sum = { packetsReceived: 0, bytesReceived: 0, audioLevel: 0 };
    for (const connection of window.connections) {
      for (const report of (await connection.getStats()).values()) {
        if (report.type !== "inbound-rtp" || report.kind !== "audio") continue;
        sum.packetsReceived += report.packetsReceived;
        sum.bytesReceived += report.bytesReceived;
        sum.audioLevel = Math.max(sum.audioLevel, report.audioLevel ?? 0);
      }
    }
    return sum;
  });
}

/** Waits until `condition` gives a true value, and returns that. */
async function eventually(what, condition) {
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`waited ${DEADLINE_MS} ms for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const hears = (browser, more) => async () => {
  const stats = await inbound(browser);
  return stats.packetsReceived > more && stats;
};

/** No voice comes in for a whole second. */
async function quiet(browser) {
  const before = await inbound(browser);
  await new Promise((resolve) => setTimeout(resolve, 1000));
  return (await inbound(browser)).packetsReceived === before.packetsReceived;
}

const row = ({ page }, member) => page.locator("#members li", { hasText: member.name });

async function has(browser, member, state, wanted) {
  const classes = (await row(browser, member).getAttribute("class")) ?? "";
  return classes.split(" ").includes(state) === wanted;
}

async function picture({ name, page }, moment) {
  if (options.screenshots) await page.screenshot({ path: join(options.screenshots, `${name}-${moment}.png`) });
}

async function meet(ada, bob, checks) {
  await picture(ada, "before");
  await Promise.all([enter(ada), enter(bob)]);
  await eventually("each page shows two members", async () => {
    const counts = await Promise.all([ada, bob].map(({ page }) => page.locator("#members li").count()));
    return counts.every((count) => count === 2);
  });
  const [a, b] = await Promise.all([
    eventually("Ada hears Bob", hears(ada, 0)),
    eventually("Bob hears Ada", hears(bob, 0)),
  ]);
  checks.received = { Ada: a.packetsReceived, Bob: b.packetsReceived };

  await eventually("Bob sees that Ada talks", () => has(bob, ada, "talking", true));
  await picture(bob, "talking");
  checks.talking = true;

  await ada.page.getByRole("button", { name: "Mute" }).click();
  await eventually("Bob sees that Ada is muted", () => has(bob, ada, "muted", true));
  await eventually("Bob sees that Ada is quiet", () => has(bob, ada, "talking", false));
  await eventually("nothing of Ada reaches Bob", () => quiet(bob));
  await picture(bob, "muted");
  checks.muted = true;

  const { packetsReceived } = await inbound(bob);
  await ada.page.getByRole("button", { name: "Unmute" }).click();
  await eventually("Bob hears Ada again", hears(bob, packetsReceived));
  checks.unmuted = true;

  await bob.page.getByRole("button", { name: "Silence" }).click();
  await bob.page.getByRole("button", { name: "Listen" }).waitFor();
  checks.speaker = true;

  await bob.page.getByRole("button", { name: "Leave" }).click();
  await eventually("Ada is alone", async () => (await ada.page.locator("#members li").count()) === 1);
  checks.left = true;

  await enter(bob);
  const heard = (await inbound(ada)).packetsReceived;
  await eventually("Ada hears Bob, who came back", hears(ada, heard));
  checks.rejoined = true;
}

const profile = await mkdtemp(join(tmpdir(), "two-browsers-"));
const checks = {};
const browsers = [];
let failure = null;
try {
  for (const name of ["Ada", "Bob"]) browsers.push(await open(name, profile));
  await meet(...browsers, checks);
} catch (error) {
  failure = String(error.message ?? error);
  for (const browser of browsers) await picture(browser, "failed").catch(() => {});
}
const logs = failure ? Object.fromEntries(browsers.map(({ name, log }) => [name, log])) : undefined;
console.log(JSON.stringify({ ok: !failure, checks, failure, logs }, null, 2));
for (const { context } of browsers) await context.close().catch(() => {});
await rm(profile, { recursive: true, force: true });
process.exit(failure ? 1 : 0);
