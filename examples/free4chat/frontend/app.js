// The page: lobby (`/`), the door of a room (`/{room}`), and the call.

import { Room } from "./voice.js";

const $ = (id) => document.getElementById(id);
const server = document.querySelector("meta[name=free4chat-server]").content || location.origin;
const roomName = location.pathname.slice(1);

let room = null;

function show(section) {
  for (const id of ["lobby", "door", "call"]) $(id).hidden = id !== section;
  $("controls").hidden = section !== "call";
}

function say(text) {
  $("status").textContent = text;
}

$("choose").addEventListener("submit", (event) => {
  event.preventDefault();
  location.assign(`/${$("room").value}`);
});

// The door

async function lookInside() {
  const response = await fetch(`${server}/api/rooms/${roomName}`);
  const { members, error } = await response.json();
  if (error) return say(error);
  const names = members.map(({ name }) => name);
  const inside = `Inside: ${new Intl.ListFormat("en").format(names)}`;
  $("present").textContent = names.length ? inside : "Nobody is here yet.";
}

async function openMicrophone() {
  try {
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
    });
    return stream.getAudioTracks()[0];
  } catch (error) {
    console.warn("no microphone", error);
    return null;
  }
}

$("join").addEventListener("submit", async (event) => {
  event.preventDefault();
  const name = $("name").value.trim();
  localStorage.setItem("name", name);
  const button = event.submitter;
  button.disabled = true;
  say("Waiting for the microphone …");
  const microphone = await openMicrophone();
  button.disabled = false;
  enter(name, microphone);
});

// The call

function enter(name, microphone) {
  room = new Room(server, roomName, name, microphone);
  room.addEventListener("members", renderMembers);
  room.addEventListener("state", ({ detail }) => renderState(detail, microphone));
  room.connect();
  $("microphone").disabled = !microphone;
  renderControls();
  show("call");
  $("microphone").focus();
}

function renderState({ state, reason }, microphone) {
  document.body.dataset.state = state;
  const reasonToListen = isSecureContext ? "there is no microphone" : "a microphone needs HTTPS";
  const connected = microphone ? "Connected" : `Listening only: ${reasonToListen}`;
  const texts = { connecting: "Connecting …", connected, reconnecting: "Connection lost, trying again …" };
  say(reason ?? texts[state] ?? "");
  if (state === "ended") show("door");
}

function renderMembers() {
  const rows = new Map([...$("members").children].map((row) => [Number(row.dataset.id), row]));
  for (const member of room.members.values()) {
    const row = rows.get(member.id) ?? $("members").appendChild(newRow(member));
    rows.delete(member.id);
    row.classList.toggle("talking", member.talking);
    row.classList.toggle("muted", member.muted);
    row.querySelector(".state").textContent = member.muted ? "muted" : member.talking ? "talking" : "";
  }
  for (const gone of rows.values()) gone.remove();
  $("alone").hidden = room.members.size !== 1;
}

function newRow({ id, name }) {
  const row = $("member").content.firstElementChild.cloneNode(true);
  row.dataset.id = id;
  row.querySelector(".name").textContent = id === room.me ? `${name} (you)` : name;
  const avatar = row.querySelector(".avatar");
  avatar.textContent = [...name][0].toUpperCase();
  const hue = [...name].reduce((sum, letter) => sum * 31 + letter.codePointAt(0), 7) % 360;
  avatar.style.setProperty("--hue", hue);
  return row;
}

function renderControls() {
  renderToggle("microphone", !room.muted, "Mute", "Unmute");
  renderToggle("speaker", !room.silent, "Silence", "Listen");
}

function renderToggle(id, on, whenOn, whenOff) {
  $(id).dataset.on = on;
  $(id).querySelector("span").textContent = on ? whenOn : whenOff;
}

$("microphone").addEventListener("click", () => {
  room.muted = !room.muted;
  renderControls();
});

$("speaker").addEventListener("click", () => {
  room.silent = !room.silent;
  renderControls();
});

$("leave").addEventListener("click", () => {
  room.leave();
  say("You left the room.");
  lookInside();
});

$("share").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(location.href);
    say("Link copied");
  } catch {
    say(`Share this link: ${location.href}`);
  }
});

document.addEventListener("keydown", (event) => {
  const typing = event.target instanceof HTMLInputElement;
  if ($("call").hidden || typing || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "m") $("microphone").click();
  if (event.key === "s") $("speaker").click();
});

// Start

if (roomName) {
  document.title = `${roomName} · free4chat`;
  for (const element of document.querySelectorAll(".room-name")) element.textContent = roomName;
  $("name").value = localStorage.getItem("name") ?? "";
  show("door");
  $("name").focus();
  lookInside().catch(() => say("The server does not answer."));
} else {
  show("lobby");
  $("room").focus();
}
