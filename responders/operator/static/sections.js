// One function for each section of the page: it draws a state.
import { actCell } from "./acts.js";
import { badge, byId, element, rowsOf, show, text, write } from "./elements.js";
import { NONE, clockTime, count, dayTime, duration, fill, measure, milliseconds, octets, texts } from "./writing.js";

const RUN_KINDS = { running: "good", completed: "good", paused: "held", pausing: "held", aborting: "held", aborted: "bad" };
let resumable = false;

function progress(cell, run) {
  const done = run.items - run.pending;
  if (!cell.firstElementChild) cell.append(element("progress"), element("span", { className: "line" }), element("span", { className: "line faint" }));
  const [bar, said, reason] = cell.children;
  bar.max = Math.max(1, run.items);
  bar.value = done;
  bar.setAttribute("aria-label", fill(texts.runs.issued, count(run.issued), count(run.items)));
  const parts = [fill(texts.runs.issued, count(run.issued), count(run.items))];
  if (run.failed) parts.push(fill(texts.runs.failed, count(run.failed)));
  if (run.aborted) parts.push(fill(texts.runs.aborted_items, count(run.aborted)));
  write(said, parts.join(", "));
  write(reason, run.notice ? fill(texts.runs.notice, run.notice) : run.reason ?? "");
}

function ending(run) {
  if (run.closed_at) return dayTime(run.closed_at);
  return run.remaining_seconds === null ? NONE : `${dayTime(Date.now() / 1000 + run.remaining_seconds)} (${duration(run.remaining_seconds)})`;
}

const runRows = rowsOf("runs", run => run.run, [
  text(run => `${run.run} ${run.policy}`),
  badge(run => [texts.runs[run.state], RUN_KINDS[run.state] ?? "plain"]),
  progress,
  text(run => (run.rate === null ? NONE : fill(texts.runs.per_second, measure(run.rate)))),
  text(ending),
  actCell(() => resumable),
]);

const laneRows = rowsOf("lanes", lane => lane.lane, [
  text(lane => texts.lanes[lane.lane]),
  text(lane => count(lane.waiting)), text(lane => count(lane.in_flight)), text(lane => measure(lane.per_second)),
  text(lane => count(lane.served)), text(lane => count(lane.refused)),
  text(lane => milliseconds(lane.p50_ms)), text(lane => milliseconds(lane.p95_ms)), text(lane => milliseconds(lane.p99_ms)),
]);

const stateOf = session => texts.sessions[session.state] ?? session.state;

/** A square for each session, and how many are in each state in words. */
function sessions(cell, pool) {
  if (!cell.firstElementChild) cell.append(element("span", { className: "squares", ariaHidden: "true" }), element("span", { className: "line" }));
  const [squares, said] = cell.children;
  squares.replaceChildren(...pool.sessions.map(session => element("span", {
    className: `square ${session.state}`, title: fill(texts.sessions.session, session.number, stateOf(session)),
  })));
  const counts = new Map();
  for (const session of pool.sessions) counts.set(stateOf(session), (counts.get(stateOf(session)) ?? 0) + 1);
  const states = [...counts].map(([state, number]) => `${state} ${number}`);
  if (pool.drained) states.unshift(texts.sessions.drained);
  write(said, [fill(texts.sessions.of, pool.size, pool.wanted), ...states].join(", "));
}

const errorsOf = pool => Object.entries(pool.errors).map(([name, number]) => `${name} ${count(number)}`).join(", ") || texts.site.nothing;

const sessionRows = rowsOf("sessions", pool => `${pool.process}-${pool.pid}`, [
  text(pool => pool.process),
  sessions,
  text(pool => count(pool.sessions.reduce((sum, session) => sum + session.calls, 0))),
  text(pool => milliseconds(pool.sign?.count ? pool.sign.p99_ms : null)),
  text(pool => count(pool.replacements)),
  text(errorsOf),
]);

function left(cell, [crl, now]) {
  if (!cell.firstElementChild) cell.append(element("meter", { min: 0 }), element("span", { className: "line" }));
  const [bar, said] = cell.children, seconds = crl.next_update - now;
  bar.max = crl.next_update - crl.this_update;
  bar.low = bar.max / 4;
  bar.optimum = bar.max;
  bar.value = Math.max(0, seconds);
  const words = seconds > 0 ? duration(seconds) : texts.crls.past;
  bar.setAttribute("aria-label", words);
  said.className = seconds > 0 ? "line" : "badge bad";
  write(said, words);
}

const crlRows = rowsOf("crls", ([crl]) => crl.path, [
  text(([crl]) => crl.path),
  text(([crl, now]) => duration(now - crl.this_update)),
  text(([crl]) => dayTime(crl.next_update)),
  left,
]);

const processRows = rowsOf("processes", one => `${one.process}-${one.pid}`, [
  text(one => one.process), text(one => String(one.pid)), text(one => duration(one.uptime_seconds)),
  text(one => (one.cpu === null ? NONE : measure(one.cpu))), text(one => octets(one.memory_bytes)),
]);

const tokenRows = rowsOf("token", key => key.key, [
  text(key => key.key),
  badge(key => (key.healthy ? [texts.token.good, "good"] : [texts.token.bad, "bad"])),
  text(key => (key.last_ok_at === null ? NONE : dayTime(Date.parse(key.last_ok_at) / 1000))),
  text(key => milliseconds(key.latency_ms)),
  text(key => key.error ?? NONE),
]);

function writingText(writing) {
  if (writing === null) return texts.audit.untried;
  if (writing.fault) return fill(texts.audit.fails, writing.fault);
  const free = writing.free_bytes === null ? [] : [fill(texts.audit.free, octets(writing.free_bytes))];
  return [fill(texts.audit.works, milliseconds(writing.waited_ms)), ...free].join(", ");
}

function auditPairs({ audit, writing }) {
  const words = texts.audit;
  if (audit === null) return [[words.records, "0"], [words.writing, writingText(writing)]];
  const checkpoint = audit.checkpoint === null ? words.checkpoint_none
    : `${fill(words.number, count(audit.checkpoint))}, ${dayTime(audit.checkpoint_at)}`;
  return [
    [words.records, count(audit.sequence)],
    [words.newest, `${dayTime(audit.recorded_at)}, ${audit.event}, ${audit.actor}`],
    [words.head, audit.hash],
    [words.checkpoint, `${checkpoint}, ${fill(words.uncovered, count(audit.uncovered))}`],
    [words.writing, writingText(writing)],
  ];
}

function drawAudit(record) {
  const list = byId("audit-details");
  if (!list || !record) return;
  const pairs = auditPairs(record);
  if (list.children.length !== pairs.length) list.replaceChildren(...pairs.map(() => element("div", {}, element("dt"), element("dd"))));
  pairs.forEach(([name, value], place) => {
    const [term, said] = list.children[place].children;
    write(term, name);
    write(said, value);
    said.className = name === texts.audit.head ? "code" : "";
  });
}

function drawStatusStore(store) {
  const words = texts.ocsp, at = store && clockTime(store.written_at);
  const parts = store ? [fill(store.is_current ? words.current : words.stale, at)] : [words.none];
  if (store?.behind) parts.push(fill(words.behind, count(store.behind)));
  write(byId("status-store"), store ? `${words.store}: ${parts.join(", ")}` : parts[0]);
}

/** The keys of the token, each as the process that watches it said last. */
export const keysOf = state => state.token_health.flatMap(health => health.keys ?? []);

/** Draw a state. */
export function drawSections(state) {
  const { record } = state;
  resumable = record !== null && record.resumption === null;
  const prompt = byId("runs-prompt");
  if (prompt) show(prompt, record?.resumption === "prompt");
  if (record) runRows(record.runs);
  laneRows(state.pools.length ? state.lanes : []);
  sessionRows(state.pools);
  drawStatusStore(state.status_store);
  crlRows(state.crls.nearest.map(crl => [crl, state.now]));
  const more = byId("crls-more");
  show(more, state.crls.count > state.crls.nearest.length);
  write(more, fill(texts.crls.more, count(state.crls.count)));
  drawAudit(record);
  tokenRows(keysOf(state));
  processRows(state.processes);
}
