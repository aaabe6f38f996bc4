// Keeps a page live: events change cells, parts and the badge; nothing else moves.
const live = document.getElementById("live");
const said = document.getElementById("said");
const CLASSES = { registered: "r", unreachable: "x", unregistered: "u", never_registered: "n", unknown: "q" };
const MARKS = { up: "good", registered: "good", ok: "good", readable: "good", degraded: "warn", unreachable: "warn",
  down: "bad", unregistered: "bad", rejected: "bad", failing: "bad", unreadable: "bad", never_registered: "never" };
const REST = 1000; // ms between two readings of one part
const words = (state) => state.replaceAll("_", " ");

// --- parts: read again, and only what differs is exchanged ---------------------------

const parts = new Map([...document.querySelectorAll("[data-part]")].map((one) => [one.dataset.part, one]));
const timers = new Map();
const read = new Map(); // part -> when it was read last
const seen = new Map(); // row -> the text that it was made of

function soon(name, rest = REST) {
  if (!(parts.has(name) || name === "extensions") || timers.has(name)) return;
  const wait = Math.max(50, (read.get(name) ?? 0) + rest - performance.now());
  timers.set(name, setTimeout(() => { timers.delete(name); fetchPart(name); }, wait));
}

async function fetchPart(name) {
  read.set(name, performance.now());
  const answer = await fetch(`/parts/${name}`, { headers: { Accept: "text/html" } }).catch(() => null);
  if (!answer?.ok) return;
  const made = new DOMParser().parseFromString(await answer.text(), "text/html").body;
  if (name === "head") return head(made);
  if (name === "extensions") return made.querySelectorAll("[data-row]").forEach(exchange);
  reconcile(parts.get(name), made);
}

function head(made) {
  const badge = made.querySelector("#badge");
  if (document.querySelector("#head").innerHTML.trim() !== made.innerHTML.trim())
    document.querySelector("#head").replaceChildren(...made.childNodes);
  if (document.title !== badge.dataset.title) document.title = badge.dataset.title;
  const icon = document.getElementById("icon");
  if (icon.getAttribute("href") !== badge.dataset.icon) icon.setAttribute("href", badge.dataset.icon);
}

// Rows have ids: a row that somebody types in, or has open, stays as it is.
function busy(row) {
  return row.contains(document.activeElement) || row.querySelector("details[open]");
}

function exchange(fresh) {
  const row = document.getElementById(fresh.id);
  if (!row) return false;
  const text = fresh.outerHTML;
  if ((seen.get(fresh.id) ?? row.outerHTML) !== text && !busy(row)) {
    seen.set(fresh.id, text);
    row.replaceWith(fresh);
  }
  return true;
}

function reconcile(part, made) {
  const rows = [...made.querySelectorAll("[data-row]")];
  const ids = new Set(rows.map((row) => row.id));
  const known = new Set([...part.querySelectorAll("[data-row]")].map((row) => row.id));
  const flat = rows.every((row) => row.parentElement === made);
  if (!flat && (known.size !== ids.size || rows.some((row) => !known.has(row.id)))) {
    if (!busy(part)) part.replaceChildren(...made.childNodes);
    return;
  }
  for (const row of part.querySelectorAll("[data-row]"))
    if (!ids.has(row.id) && !row.contains(document.activeElement)) { seen.delete(row.id); row.remove(); }
  let before = null;
  for (const row of rows) {
    if (!exchange(row)) {
      seen.set(row.id, row.outerHTML);
      if (before) before.after(row); else part.prepend(row);
    }
    before = document.getElementById(row.id);
  }
}

// --- events --------------------------------------------------------------------------

function states({ rows }) {
  let counted = false, tables = false;
  for (const row of rows) {
    counted ||= row.kind === "extension";
    tables ||= row.kind !== "extension";
    const cell = document.getElementById(row.key);
    if (cell?.classList.contains("c")) {
      cell.className = `c ${CLASSES[row.state] ?? "q"}`;
      const named = cell.title.slice(0, cell.title.lastIndexOf(": "));
      cell.title = `${named}: ${words(row.state)}`;
      if (cell.firstElementChild) cell.setAttribute("aria-label", cell.title);
    } else if (cell) {
      const state = cell.querySelector(".state");
      if (state) {
        state.querySelector(".mark").className = `mark ${MARKS[row.state] ?? "unknown"}`;
        state.lastElementChild.textContent = words(row.state);
      }
    }
    watched(row.key);
  }
  if (counted) soon("extensions");
  if (tables) soon("aside", 5 * REST);
}

// The page of one thing is read anew when that changes, unless somebody types there.
const shown = document.querySelector("[data-watch], [data-incident]");
function watched(key) {
  if (shown?.dataset.watch === key) again();
}
function again() {
  if (timers.has("page") || busy(document.getElementById("main"))) return;
  timers.set("page", setTimeout(async () => {
    timers.delete("page");
    const answer = await fetch(location.pathname).catch(() => null);
    if (!answer?.ok) return;
    const made = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (busy(document.getElementById("main"))) return;
    document.getElementById("main").replaceChildren(...made.getElementById("main").childNodes);
    document.title = made.title;
  }, 300));
}

function incident(one) {
  soon("incidents", 300);
  soon("head", 300);
  if (String(one.id) === shown?.dataset.incident) again();
  if (said && one.state === "firing") said.textContent = `${one.severity}: ${one.text}`;
  if (said && one.state === "resolved") said.textContent = `over: ${one.text}`;
}

function everything() {
  for (const name of parts.keys()) soon(name);
  for (const grid of document.querySelectorAll(".place[open] .grid")) regrid(grid);
  if (shown) again();
}

async function regrid(grid) {
  const place = grid.closest(".place");
  const answer = await fetch(place.dataset.grid).catch(() => null);
  if (answer?.ok) grid.innerHTML = await answer.text(); // ours, escaped by the server
}

const HEARD = {
  states, incident,
  overview: () => soon("head"),
  silence: () => { soon("incidents"); soon("aside"); },
  delivery: () => { if (shown?.dataset.incident) again(); },
  reload: everything,
  resync: everything,
};

const after = document.documentElement.dataset.after; // the last event before the page
let missed = ""; // since when the connection is away, and its events are not heard
const clock = () => new Date().toLocaleTimeString("en-GB",
  { hour: "2-digit", minute: "2-digit", timeZone: document.documentElement.dataset.zone || undefined });
function listen() {
  const source = new EventSource(`/api/v1/events?after=${encodeURIComponent(after)}`);
  for (const [name, hear] of Object.entries(HEARD))
    source.addEventListener(name, (event) => hear(JSON.parse(event.data || "{}")));
  source.onopen = () => {
    live.className = "live on"; live.textContent = "live";
    if (missed) everything();
    missed = "";
  };
  source.onerror = () => {
    missed ||= clock();
    live.className = "live off"; live.textContent = `not live since ${missed}: trying again`;
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 10 * REST);
  };
  addEventListener("pagehide", () => source.close(), { once: true });
}

// --- what helps the reader -----------------------------------------------------------

document.addEventListener("toggle", (event) => {
  const place = event.target;
  if (place.open && place.dataset?.grid && !place.dataset.read) {
    place.dataset.read = "1";
    regrid(place.querySelector(".grid"));
  }
}, true);

// What the strip leads to is shown.
document.addEventListener("click", (event) => {
  const way = event.target.closest?.(".strip a")?.hash;
  const place = way && document.getElementById(decodeURIComponent(way.slice(1)));
  if (place) place.open = true;
});

// In a grid the arrow keys go from cell to cell, and Tab passes it by.
document.addEventListener("keydown", (event) => {
  const cell = event.target.closest?.(".c");
  const step = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
  if (cell && step) {
    const cells = [...cell.closest(".grid").querySelectorAll(".c")];
    const at = Math.min(cells.length - 1, Math.max(0, cells.indexOf(cell) + step));
    cells[at].focus();
    event.preventDefault();
  } else if (event.key === "/" && !event.target.closest("input, select, textarea")) {
    document.getElementById("q").focus();
    event.preventDefault();
  }
});

// Who takes one incident takes the next one under the same name.
document.addEventListener("submit", (event) => {
  const name = event.target.querySelector("[name=by], [name=author]");
  if (name?.value) localStorage.setItem("name", name.value);
});
document.addEventListener("focusin", (event) => {
  const name = event.target.closest?.(".acts")?.querySelectorAll("[name=by], [name=author]") ?? [];
  for (const one of name) one.value ||= localStorage.getItem("name") ?? "";
});

const SPANS = [["d", 86400, "h", 3600], ["h", 3600, "min", 60]];
function span(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  const [big, size, small, part] = SPANS.find(([, size]) => seconds >= size);
  const rest = Math.floor((seconds % size) / part);
  return `${Math.floor(seconds / size)} ${big}${rest ? ` ${rest} ${small}` : ""}`;
}
setInterval(() => {
  if (document.hidden) return;
  for (const one of document.querySelectorAll("[data-ago]")) {
    const text = span(Math.abs(Date.now() - Date.parse(one.dateTime)) / 1000);
    if (one.textContent !== text) one.textContent = text;
  }
}, 15 * REST);

setInterval(() => { if (!document.hidden) soon("aside"); }, 60 * REST);
if (after !== undefined) listen();
