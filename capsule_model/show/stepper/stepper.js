"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const rules = new Map(Object.entries(data.rules));
  const part = (id) => document.getElementById(id);
  const KINDS = new Map([["enter", "↳"], ["leave", "↰"], ["event", "•"], ["death", "✗"], ["start", "◦"], ["end", "◦"]]);
  const MOST_LISTED = 40, MOST_SPOKEN = 6, MOST_PLACES = 12, MOST_FIELDS = 7, PAUSE = 350;

  let vector, moments, sections, state, undone, now, rows, boxes, sectionOf, drawn;
  let kept = -1e9, waiting = 0, known = location.hash;

  /** Make an element with a class and contents: texts and elements. */
  function make(tag, name, ...contents) {
    const element = document.createElement(tag);
    if (name) element.className = name;
    element.append(...contents);
    return element;
  }

  /** Return a text as nodes: what stands between backticks as code, what stands between stars with stress. */
  const prose = (text) => text.split("`").flatMap((piece, index) => (index % 2 ? make("code", "", piece) : stressed(piece)));
  const stressed = (text) => text.split(/\*([^*]+)\*/).map((piece, index) => (index % 2 ? make("em", "", piece) : piece));

  /** Return what the page's address ends in to lead to a moment. */
  function fragment(moment) {
    const place = moment.kind === "end" || moment.at === "start" ? moment.at : `step-${moment.at}`;
    return data.vectors.length > 1 ? `#${vector.id}/${place}` : `#${place}`;
  }

  /** Return the path of the step that a moment belongs to, empty before the first and behind the last. */
  function stepOf(moment) {
    const parts = moment.at.split("/");
    while (parts.length && !/^\d+$/.test(parts.at(-1))) parts.pop();
    return parts.join("/");
  }

  /** Bring the state to what it is after the next moment, and keep what it was. */
  function forward() {
    const moment = moments[now + 1], before = new Map();
    Object.entries(moment.new || {}).forEach(([id, [section, label, at, fields]], index) => {
      const since = (now + 1) * 1e6 + index;
      before.set(id, null);
      state.set(id, { section, label, at, fields: new Map(Object.entries(fields)), gone: null, since });
    });
    for (const [id, changes] of Object.entries(moment.changed || {})) {
      const card = state.get(id);
      before.set(id, card);
      const fields = new Map(card.fields);
      let label = card.label;
      for (const [name, value] of Object.entries(changes)) {
        if (name === "#label") label = value;
        else if (value === null) fields.delete(name);
        else fields.set(name, value);
      }
      state.set(id, { ...card, label, fields });
    }
    for (const [id, gone] of Object.entries(moment.gone || {})) {
      const card = state.get(id);
      before.set(id, card);
      state.set(id, { ...card, gone });
    }
    now += 1;
    undone[now] = before;
  }

  function backward() {
    for (const [id, card] of undone[now]) {
      if (card === null) state.delete(id);
      else state.set(id, card);
    }
    now -= 1;
  }

  /** Show a moment; everything on the page that depends on it is brought up to date. */
  function go(number, { focus = false, address = true } = {}) {
    const target = Math.max(0, Math.min(number, moments.length - 1)), old = now;
    const touched = new Set(old >= 0 ? undone[old].keys() : []);
    const touch = () => { for (const id of undone[now].keys()) touched.add(id); };
    while (now < target) { forward(); touch(); }
    while (now > target) { touch(); backward(); }
    touch();
    const moment = moments[now];
    drawBar(moment);
    drawSteps(old, focus);
    drawMoment(moment);
    drawState(touched);
    if (address) keepAddress();
  }

  /** Have the page's address name the moment: at once, and while a key is held down now and then, as browsers ask for. */
  function keepAddress() {
    if (waiting) return;
    const left = kept + PAUSE - performance.now();
    if (left > 0) {
      waiting = setTimeout(() => { waiting = 0; keepAddress(); }, left);
      return;
    }
    // An address that somebody else has changed is one to follow, not one to write over.
    if (location.hash !== known) return;
    kept = performance.now();
    if (location.hash !== fragment(moments[now])) history.replaceState(null, "", fragment(moments[now]));
    known = location.hash;
  }

  function drawBar(moment) {
    const count = moments.length;
    for (const [id, off] of [["first", now === 0], ["back", now === 0], ["next", now === count - 1], ["last", now === count - 1]]) {
      part(id).setAttribute("aria-disabled", String(off));
    }
    part("slider").value = String(now);
    part("slider").setAttribute("aria-valuetext", `${now + 1} of ${count}: ${moment.text}`);
    part("position").textContent = `${now + 1} of ${count}`;
    const before = now > 0 ? moments[now - 1].back ?? moments[now - 1].error ?? null : null;
    const settled = before === "no error" ? null : before;
    part("indicator").className = (moment.error ? "set" : "clear") + (settled !== (moment.error ?? null) ? " news" : "");
    part("error").textContent = moment.error ? `✗ ${moment.error}` : "○ no error";
    part("thread").textContent = moment.thread ? ` of thread ${moment.thread}` : "";
    part("elsewhere").textContent = moment.elsewhere ? `elsewhere: ${moment.elsewhere.join("; ")}` : "";
    part("back-to").textContent = moment.back ? `then put back to: ${moment.back}` : "";
  }

  function drawSteps(old, focus) {
    rows.forEach((row, number) => {
      if (number <= Math.max(old, now) && number >= Math.min(old, now) || old < 0) {
        row.classList.toggle("later", number > now);
        row.tabIndex = number === now ? 0 : -1;
        if (number === now) row.setAttribute("aria-current", "step");
        else row.removeAttribute("aria-current");
      }
    });
    reveal(rows[now], part("steps"));
    if (focus) rows[now].focus({ preventScroll: true });
  }

  /** Scroll a list, and not the page, until a row is in sight; what comes into sight may turn out higher than it was thought. */
  function reveal(row, list) {
    for (let attempt = 0; attempt < 4; attempt += 1) {
      const inner = row.getBoundingClientRect(), outer = list.getBoundingClientRect(), spare = Math.min(48, outer.height / 4);
      const by = Math.min(0, inner.top - outer.top - spare) || Math.max(0, inner.bottom - outer.bottom + spare);
      if (Math.abs(by) < 1) return;
      list.scrollTop += by;
    }
  }

  /** Return what the present moment changed, in lines: a sign, words, and fewer words for what is read out. */
  function changesOf(moment) {
    const lines = [];
    for (const [, [, label, , fields]] of Object.entries(moment.new || {})) {
      const told = Object.entries(fields).map(([name, value]) => `${name} ${value}`);
      lines.push(["+", `${label} is new: ${told.slice(0, MOST_FIELDS).join(", ")}${told.length > MOST_FIELDS ? ", …" : ""}`, `${label} is new`]);
    }
    for (const [id, fields] of Object.entries(moment.changed || {})) {
      const before = undone[now].get(id), label = state.get(id).label;
      for (const [name, value] of Object.entries(fields)) {
        if (name === "#label") lines.push(["~", `${before.label} is called ${value} now`]);
        else lines.push(["~", `${label}.${name.replace(/^\./, "")}: ${before.fields.get(name) ?? "nothing"} → ${value ?? "nothing"}`]);
      }
    }
    for (const id of Object.keys(moment.gone || {})) lines.push(["−", `${state.get(id).label} is gone`]);
    return lines;
  }

  function drawMoment(moment) {
    const path = stepOf(moment), inside = ["enter", "leave", "event"].includes(moment.kind);
    part("called").replaceChildren(...(path ? [`${inside ? "in step" : "step"} ${path}: `] : []), make("code", "", moment.text));
    const told = moment.told || [], changes = changesOf(moment);
    part("told").className = moment.kind;
    part("told").replaceChildren(...told.map((line) => make("li", "", line)));
    part("told").hidden = told.length === 0;
    const shown = changes.slice(0, MOST_LISTED).map(([sign, words]) => {
      const item = make("li", "", words);
      item.dataset.sign = sign;
      return item;
    });
    if (changes.length > MOST_LISTED) shown.push(make("li", "", `and ${changes.length - MOST_LISTED} more`));
    part("changes").replaceChildren(...(shown.length ? shown : [make("li", "nothing", "nothing")]));
    const differences = now === moments.length - 1 ? vector.differences : [];
    part("differences").replaceChildren(...differences.map((line) => make("li", "", `not as the vector expects: ${line}`)));
    part("differences").hidden = differences.length === 0;
    const reached = moment.rules || [];
    part("rules").replaceChildren(...(reached.length ? reached.map((id) => make("li", "", quote(id, true))) : [make("li", "nothing", "none")]));
    const spoken = changes.slice(0, MOST_SPOKEN).map(([, words, few]) => few ?? words);
    if (changes.length > MOST_SPOKEN) spoken.push(`and ${changes.length - MOST_SPOKEN} more changes`);
    part("live").textContent = [
      `${now + 1} of ${moments.length}: ${moment.text}`, ...told, `Error indicator: ${moment.error ?? "no error"}`,
      spoken.length ? `Changed: ${spoken.join("; ")}` : "Nothing changed",
    ].join(". ");
  }

  /** Return a rule as it is quoted: its id, level, sentence and source. */
  function quote(id, linked) {
    const rule = rules.get(id) || { level: "", sentence: "", source: "", chapter: "", when: "" };
    const name = linked ? make("a", "mono", id) : make("span", "mono", id);
    if (linked) name.href = `#rule-${id}`;
    const box = make("div", "rule", name, " ", make("span", `level ${rule.level === "UNDEFINED" ? "undefined" : ""}`, rule.level));
    if (rule.sentence) box.append(make("br", ""), make("q", "", ...prose(rule.sentence)));
    const source = [rule.source && `source: ${rule.source}`, !linked && rule.when && `when: ${rule.when}`, !linked && rule.chapter && `chapter: ${rule.chapter}`];
    const words = source.filter(Boolean).join("; ");
    if (words) box.append(make("small", "", ...prose(words)));
    return box;
  }

  function drawState(touched) {
    const lively = new Set(undone[now].keys());
    for (const id of drawn) touched.add(id);
    drawn = lively;
    const stale = new Set();
    for (const id of touched) {
      const card = state.get(id), old = boxes.get(id);
      const home = sections[card ? card.section : sectionOf.get(id)];
      sectionOf.set(id, home.number);
      stale.add(home);
      home.buried.delete(id);
      if (card && card.gone !== null && !lively.has(id)) home.buried.add(id);
      if (!card || (home.buried.has(id) && !home.closed.open)) {
        old?.remove();
        boxes.delete(id);
        continue;
      }
      const nest = home.buried.has(id) ? home.dead : home.alive;
      const box = draw(card, lively.has(id) ? undone[now].get(id) : undefined, id);
      if (old && old.parentNode === nest) old.replaceWith(box);
      else { old?.remove(); insert(nest, box, card.since); }
      boxes.set(id, box);
    }
    for (const { element, alive, closed, buried, summary, title, name } of stale) {
      element.hidden = !alive.childElementCount && !buried.size;
      closed.hidden = !buried.size;
      title.textContent = `${name} (${alive.querySelectorAll(":scope > .card:not(.gone)").length})`;
      summary.textContent = `gone (${buried.size})`;
    }
  }

  /** Draw what went when somebody opens the list of it, and not before. */
  function unearth({ buried, closed, dead }) {
    dead.replaceChildren();
    for (const id of buried) {
      boxes.delete(id);
      if (!closed.open) continue;
      const box = draw(state.get(id), undefined, id);
      boxes.set(id, box);
      dead.append(box);
    }
    if (closed.open) dead.append(...[...dead.children].sort((one, other) => one.dataset.since - other.dataset.since));
  }

  /** Put a card behind those that came before it. */
  function insert(nest, box, since) {
    box.dataset.since = String(since);
    let last = nest.lastElementChild;
    while (last && Number(last.dataset.since) > since) last = last.previousElementSibling;
    if (last) last.after(box);
    else nest.prepend(box);
  }

  /** Draw a card; `before` is what it was, null for a new one, undefined where nothing changed. */
  function draw(card, before, id) {
    const title = make("h4", "", make("code", "label", card.label), make("span", "at", card.at && `at ${card.at}`));
    const box = make("article", "card", title);
    box.dataset.card = id;
    box.dataset.since = String(card.since);
    const badge = card.gone !== null ? `gone at ${card.gone}` : before === null ? "new" : before ? "changed" : "";
    if (badge) title.append(make("span", "badge", badge));
    if (card.gone !== null) box.classList.add("gone");
    if (before !== undefined) box.classList.add(before === null ? "new" : card.gone !== null ? "now" : "changed");
    const list = make("dl", "");
    const names = before ? [...before.fields.keys(), ...[...card.fields.keys()].filter((name) => !before.fields.has(name))] : [...card.fields.keys()];
    for (const name of names) {
      const value = card.fields.get(name), old = before ? before.fields.get(name) : value;
      const words = value === old ? [value] : [make("del", "", old ?? "nothing"), " → ", make("ins", "", value ?? "nothing")];
      const row = make("div", value === old ? "" : "is-changed", make("dt", "", name), make("dd", "", ...words));
      list.append(row);
    }
    box.append(list);
    return box;
  }

  /** Make the page of a vector: its list of steps, empty sections, and its book of rules. */
  function open(chosen) {
    vector = chosen;
    moments = vector.moments;
    state = new Map();
    boxes = new Map();
    sectionOf = new Map();
    undone = [];
    drawn = new Set();
    now = -1;
    part("title").textContent = vector.id;
    part("about").textContent = `${vector.title} — under ${vector.profile}`;
    part("slider").max = String(moments.length - 1);
    document.title = `${vector.id}, step by step`;
    rows = moments.map((moment) => {
      const word = moment.kind === "step" || moment.kind === "begin" ? stepOf(moment).split("/").pop() : "";
      const mark = make("span", "mark", word || KINDS.get(moment.kind) || "");
      if (!word) mark.setAttribute("aria-hidden", "true");
      const row = make("a", moment.kind, mark, make("code", "", moment.text));
      row.href = fragment(moment);
      row.style.setProperty("--depth", String(Math.min(moment.depth || 0, 14)));
      return row;
    });
    part("steps").replaceChildren(...rows.map((row) => make("li", "", row)));
    sections = vector.sections.map((name, number) => {
      const title = make("h3", "", `${name} (0)`), alive = make("div", "cards"), dead = make("div", "cards"), summary = make("summary", "", "gone (0)");
      const closed = make("details", "dead", summary, dead), element = make("section", "", title, alive, closed);
      title.id = `section-${number}`;
      element.setAttribute("aria-labelledby", title.id);
      element.hidden = true;
      const home = { number, element, alive, dead, closed, summary, title, name, buried: new Set() };
      closed.addEventListener("toggle", () => unearth(home));
      return home;
    });
    part("sections").replaceChildren(...sections.map(({ element }) => element));
    drawBook();
  }

  function drawBook() {
    const places = new Map();
    moments.forEach((moment, number) => {
      for (const id of moment.rules || []) {
        if (!places.has(id)) places.set(id, []);
        places.get(id).push(number);
      }
    });
    const entries = [...places.keys()].sort().map((id) => {
      const box = quote(id, false), where = make("small", "", "carried out at: ");
      box.id = `rule-${id}`;
      box.tabIndex = -1;
      places.get(id).slice(0, MOST_PLACES).forEach((number, index) => {
        const link = make("a", "", moments[number].at);
        link.href = fragment(moments[number]);
        where.append(...(index ? [", ", link] : [link]));
      });
      if (places.get(id).length > MOST_PLACES) where.append(` and ${places.get(id).length - MOST_PLACES} more`);
      box.append(where);
      return box;
    });
    part("book").replaceChildren(...(entries.length ? entries : [make("p", "nothing", "none")]));
  }

  /** Go where the page's address says; return whether it says so. */
  function follow(focus) {
    known = location.hash;
    clearTimeout(waiting);
    waiting = 0;
    let hash = known.slice(1);
    try { hash = decodeURIComponent(hash); } catch { return false; }
    if (hash.startsWith("rule-") || hash === "happened") {
      part(hash)?.focus();
      if (hash === "happened" && now >= 0) keepAddress();
      return false;
    }
    const other = data.vectors.find(({ id }) => hash === id || hash.startsWith(`${id}/`));
    if (other && other !== vector) {
      open(other);
      part("vector").value = other.id;
    }
    const place = other ? hash.slice(other.id.length + 1) : hash, at = place.replace(/^step-/, "");
    const found = moments.findIndex((moment) => moment.at === at || moment.at === `${at}/death`);
    if (found < 0 && !other) return false;
    go(Math.max(found, 0), { focus, address: found < 0 });
    return true;
  }

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || !(event.target instanceof Element)) return;
    const control = event.target.closest("input, select, textarea, [contenteditable]");
    const pressed = event.target.closest("button, summary, a");
    const listed = event.target.closest("#steps");
    const space = event.key === " " && !control && (!pressed || listed);
    const turns = { ArrowRight: [now + 1], ArrowLeft: [now - 1], Home: [0], End: [moments.length - 1] };
    if (listed) Object.assign(turns, { ArrowDown: [now + 1], ArrowUp: [now - 1] });
    const turn = space ? [now + (event.shiftKey ? -1 : 1)] : control || event.shiftKey ? undefined : turns[event.key];
    if (!turn) return;
    event.preventDefault();
    go(turn[0], { focus: Boolean(listed) });
  });
  for (const [id, target] of [["first", () => 0], ["back", () => now - 1], ["next", () => now + 1], ["last", () => moments.length - 1]]) {
    part(id).addEventListener("click", () => go(target()));
  }
  part("slider").addEventListener("input", (event) => go(Number(event.target.value)));
  part("vector").addEventListener("change", (event) => {
    open(data.vectors.find(({ id }) => id === event.target.value));
    go(0);
  });
  part("steps").addEventListener("click", (event) => {
    const row = event.target.closest("a");
    if (!row || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go(rows.indexOf(row), { focus: true });
  });
  window.addEventListener("hashchange", () => follow(false));

  part("choice").hidden = data.vectors.length < 2;
  part("vector").replaceChildren(...data.vectors.map(({ id }) => make("option", "", id)));
  open(data.vectors[0]);
  if (!follow(false)) go(0, { address: false });
})();
