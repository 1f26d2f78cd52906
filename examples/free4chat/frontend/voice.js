// One room: signalling over a WebSocket, voice over WebRTC.
//
// The server always offers and this page always answers. An offer says which media line (`mid`) takes the
// microphone and which lines carry whose voice.
//
// Events: `members` (who is here changed), `state` (`connecting`, `connected`, `reconnecting`, `ended`).

const POLICY_VIOLATION = 1008; // The server will say no again.
const LONGEST_PAUSE_MS = 15_000;

export class Room extends EventTarget {
  #url;
  #name;
  #microphone; // A MediaStreamTrack, or null for listeners.
  #socket = null;
  #peer = null;
  #audio = new Map(); // Member id → the element that plays it.
  #work = Promise.resolve(); // Messages are handled one after the other.
  #attempt = 0;
  #retry = 0;
  #ended = false;
  #refusal = null;
  #muted = false;
  #silent = false;

  me = null;
  members = new Map();

  constructor(server, room, name, microphone) {
    super();
    this.#url = `${server.replace(/^http/, "ws")}/${room}`;
    this.#name = name;
    this.#microphone = microphone;
    this.#muted = !microphone;
  }

  /** Once, when the listeners are in place: the first `state` comes at once. */
  connect() {
    this.#connect();
  }

  /** The microphone, for the others; nothing is sent while muted. */
  set muted(muted) {
    this.#muted = muted;
    if (this.#microphone) this.#microphone.enabled = !muted;
    this.#send({ type: "mute", muted });
  }

  get muted() {
    return this.#muted;
  }

  /** The speaker, for oneself. */
  set silent(silent) {
    this.#silent = silent;
    for (const audio of this.#audio.values()) audio.muted = silent;
  }

  get silent() {
    return this.#silent;
  }

  leave() {
    this.#ended = true;
    clearTimeout(this.#retry);
    this.#hangUp();
    this.#microphone?.stop();
    this.#state("ended");
  }

  #connect() {
    this.#state(this.#attempt ? "reconnecting" : "connecting");
    this.#refusal = null;
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    socket.onopen = () => this.#send({ type: "join", name: this.#name });
    socket.onmessage = ({ data }) => {
      this.#work = this.#work
        .then(() => socket === this.#socket && this.#handle(JSON.parse(data)))
        .catch((error) => this.#lost(socket, error));
    };
    socket.onclose = ({ code }) => {
      if (socket !== this.#socket || this.#ended) return;
      if (code !== POLICY_VIOLATION) return this.#lost(socket);
      this.leave();
      this.#state("ended", this.#refusal ?? "The server closed the connection.");
    };
  }

  /** Whatever broke, all is set up anew after a growing pause. */
  #lost(socket, error) {
    if (socket !== this.#socket || this.#ended) return;
    if (error) console.warn("connection lost", error);
    this.#hangUp();
    this.#attempt += 1;
    const pause = Math.min(500 * 2 ** (this.#attempt - 1), LONGEST_PAUSE_MS);
    this.#state("reconnecting");
    this.#retry = setTimeout(() => this.#connect(), pause * (0.5 + Math.random() / 2));
  }

  #hangUp() {
    const [socket, peer] = [this.#socket, this.#peer];
    this.#socket = this.#peer = null;
    socket?.close();
    peer?.close();
    for (const id of [...this.#audio.keys()]) this.#stopPlaying(id);
    this.members.clear();
    this.#changed();
  }

  async #handle(message) {
    switch (message.type) {
      case "welcome":
        this.me = message.id;
        this.members = new Map(message.members.map((member) => [member.id, member]));
        this.#openPeer();
        if (this.#muted) this.#send({ type: "mute", muted: true });
        return this.#changed();
      case "joined":
      case "changed":
        this.members.set(message.member.id, message.member);
        return this.#changed();
      case "left":
        this.members.delete(message.id);
        this.#stopPlaying(message.id);
        return this.#changed();
      case "offer":
        return this.#answer(message);
      case "error":
        this.#refusal = message.message;
    }
  }

  #openPeer() {
    const [peer, socket] = [new RTCPeerConnection(), this.#socket];
    this.#peer = peer;
    peer.onconnectionstatechange = () => {
      if (peer !== this.#peer) return;
      if (peer.connectionState === "failed") this.#lost(socket);
      if (peer.connectionState !== "connected") return;
      this.#attempt = 0;
      this.#state("connected");
    };
  }

  async #answer({ sdp, microphone, voices }) {
    const peer = this.#peer;
    await peer.setRemoteDescription({ type: "offer", sdp });
    const lines = new Map(peer.getTransceivers().map((line) => [line.mid, line]));
    const mine = lines.get(microphone);
    if (this.#microphone && mine.sender.track !== this.#microphone) {
      mine.direction = "sendonly";
      await mine.sender.replaceTrack(this.#microphone);
    }
    await peer.setLocalDescription();
    this.#send({ type: "answer", sdp: peer.localDescription.sdp });
    for (const [mid, member] of Object.entries(voices)) this.#play(member, lines.get(mid).receiver.track);
  }

  #play(member, track) {
    if (this.#audio.get(member)?.srcObject.getTracks()[0] === track) return;
    const audio = new Audio();
    audio.srcObject = new MediaStream([track]);
    audio.muted = this.#silent;
    // A member who leaves before the first sound aborts this; that is no failure.
    audio.play().catch((error) => error.name !== "AbortError" && console.warn("no sound", error));
    this.#audio.set(member, audio);
  }

  #stopPlaying(member) {
    const audio = this.#audio.get(member);
    if (audio) audio.srcObject = null;
    this.#audio.delete(member);
  }

  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #changed() {
    this.dispatchEvent(new Event("members"));
  }

  #state(state, reason) {
    this.dispatchEvent(new CustomEvent("state", { detail: { state, reason } }));
  }
}
