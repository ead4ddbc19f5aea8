// The page: takes the events of the server, and hands them on.
import { Charts } from "./charts.js";
import { byId, element, show, write } from "./elements.js";
import { drawSections, keysOf } from "./sections.js";
import { clockTime, count, duration, fill, measure, texts } from "./writing.js";

const charts = new Charts();
const { tiles: words } = texts;

function runTile({ record }) {
  const running = record.runs.filter(run => run.state === "running").length;
  const held = record.runs.some(run => run.notice || (run.state === "paused" && run.pending));
  return [words.runs, running ? fill(words.running, count(running)) : words.quiet, held ? "held" : "good"];
}

function tokenTile(state) {
  const keys = keysOf(state), failed = keys.filter(key => !key.healthy).length;
  if (!keys.length) return [words.token, words.no_watch, "plain"];
  return failed ? [words.token, fill(words.keys_bad, failed, keys.length), "bad"] : [words.token, fill(words.keys_good, keys.length), "good"];
}

function ocspTile({ ocsp, status_store: store }) {
  if (store === null) return [words.ocsp, words.no_store, "plain"];
  if (!store.is_current) return [words.ocsp, words.stale, "bad"];
  return [words.ocsp, fill(words.per_second, measure(ocsp?.per_second ?? 0)), "good"];
}

function crlTile({ crls, now }) {
  if (!crls.count) return [words.crls, words.no_crls, "plain"];
  if (crls.past) return [words.crls, fill(words.crls_past, count(crls.past)), "bad"];
  return [words.crls, fill(words.crls_first, duration(crls.nearest[0].next_update - now)), "good"];
}

function auditTile({ record: { writing } }) {
  if (writing === null) return [words.audit, texts.audit.untried, "plain"];
  return writing.fault ? [words.audit, words.not_writing, "bad"] : [words.audit, words.writing, "good"];
}

const NAMED = { good: words.good, held: words.attention, bad: words.bad, plain: words.unknown };

function drawTiles(state) {
  const found = [ocspTile(state), crlTile(state)];
  if (state.role === "authority") found.unshift(tokenTile(state));
  if (state.record) { found.unshift(runTile(state)); found.push(auditTile(state)); }
  const list = byId("tiles");
  if (list.children.length !== found.length) {
    list.replaceChildren(...found.map(() => element("li", {}, element("span", { className: "name" }), element("span", { className: "value" }), element("span", { className: "badge" }))));
  }
  found.forEach(([name, value, kind], place) => {
    const tile = list.children[place];
    tile.className = `tile ${kind}`;
    [name, value, NAMED[kind]].forEach((said, part) => write(tile.children[part], said));
    tile.children[2].className = `badge ${kind}`;
  });
}

function drawFaults(faults) {
  show(byId("faults"), faults.length > 0);
  write(byId("faults"), faults.length ? `${texts.connection.faults}: ${faults.join("; ")}` : "");
}

let connected = null;

/** Say it where it changed: a screen reader is told of that, and not of every look. */
function say(live) {
  if (connected === live) return;
  connected = live;
  byId("connection").classList.toggle("lost", !live);
  write(byId("connection"), live ? texts.connection.live : texts.connection.lost);
}

const source = new EventSource("/events");
source.addEventListener("charts", ({ data }) => charts.begin(JSON.parse(data)));
source.addEventListener("state", ({ data }) => {
  const { state, point } = JSON.parse(data);
  say(true);
  byId("connection").title = `${texts.connection.seen}: ${clockTime(state.now)}`;
  drawFaults(state.faults);
  drawTiles(state);
  drawSections(state);
  charts.add(point);
  charts.draw();
  document.documentElement.dataset.drawn = state.now;
});
source.addEventListener("error", () => {
  say(false);
  // Closed for good: the session has ended, so the page to sign in is next.
  if (source.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 3000);
});
