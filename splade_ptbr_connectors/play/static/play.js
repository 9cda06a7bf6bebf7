// The page: asks the server, and shows what it says. Texts of documents become text nodes only, never markup.

const LANGUAGES = { pt: "pt-BR", en: "en" };
const SHOWN_WORDS = 5; // of a hit; the others unfold
const ORIGINS = ["word", "thesaurus", "network", "concepts", "term"];

const at = (id) => document.getElementById(id);
const [words, stores] = await Promise.all([ask("words.json"), ask("api/stores")]);
let language = startLanguage();
let asked = null; // the last search: its query, readings (one a model) and answers (one a store); an error is {error}
let running = new AbortController();

// -- language -----------------------------------------------------------------------------------------------------------

function startLanguage() {
  const wanted = [sessionStorage.getItem("language"), ...navigator.languages].map((tag) => tag?.slice(0, 2).toLowerCase());
  return wanted.find((tag) => tag in LANGUAGES) ?? "pt";
}

function say(key, values = {}) {
  let text = words[language][key];
  if (typeof text === "object") text = text[new Intl.PluralRules(language).select(values.n)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (_, name) => (typeof values[name] === "number" ? decimal(values[name]) : values[name]));
}

function decimal(value, digits = 0) {
  return value.toLocaleString(LANGUAGES[language], { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function speak() {
  document.documentElement.lang = LANGUAGES[language];
  document.title = `${asked?.query ? `${asked.query} · ` : ""}splade-ptbr play`;
  for (const each of document.querySelectorAll("[data-say]")) each.textContent = say(each.dataset.say);
  at("language").lang = language === "pt" ? "en" : "pt-BR";
  at("query").placeholder = say("placeholder");
  show();
}

// -- elements -----------------------------------------------------------------------------------------------------------

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== null));
  return made;
}

function isolated(text) {
  return element("bdi", {}, text);
}

function sized(made, share) {
  made.style.setProperty("--share", Math.max(0, Math.min(1, share)));
  return made;
}

function bar(share) {
  return sized(element("span", { className: "bar", ariaHidden: "true" }), share);
}

function number(value) {
  return element("data", { value }, decimal(value, 2));
}

function failure({ error }) {
  const text = error.type ? [element("b", { lang: "en" }, error.type), element("br"), element("span", { lang: "en" }, error.message)] : [say("unreachable")];
  return element("p", { className: "error" }, ...text);
}

// -- the query as the model reads it --------------------------------------------------------------------------------------

function reading(answer, number, several) {
  const title = several ? say("readingOf", { model: stores[number].model }) : say("reading");
  const parts = element("section", {}, element("h2", {}, title));
  parts.setAttribute("aria-label", title);
  parts.append(answer.error ? failure(answer) : groups(answer.words));
  return parts;
}

function groups(all) {
  const most = Math.max(...all.map((word) => word.weight));
  const list = element("dl", { className: "groups" });
  for (const origin of ORIGINS) {
    const members = all.filter((word) => word.origin === origin);
    if (!members.length) continue;
    const items = members.map((word) => element("li", {}, isolated(word.word), number(word.weight), bar(word.weight / most)));
    list.append(element("dt", {}, say(origin)), element("dd", {}, element("ul", { className: "weighed" }, ...items)));
  }
  return list;
}

// -- hits -----------------------------------------------------------------------------------------------------------------

function column(answer, place) {
  const { url, documents, model } = stores[place];
  const head = element("h2", { translate: false }, isolated(url));
  const section = element("section", { className: "store" }, head);
  section.setAttribute("aria-label", say("store", { store: url }));
  section.append(element("p", { className: "muted" }, `${say("documents", { n: documents })} · ${say("model", { model })}`));
  if (answer.error) section.append(failure(answer));
  else if (!answer.hits.length) section.append(element("p", {}, say("nothing")));
  else {
    section.append(element("p", { className: "muted" }, say("found", { n: answer.hits.length, ms: decimal(answer.latency_ms, 1) })));
    section.append(element("ol", {}, ...answer.hits.map((each, rank) => hit(each, rank, place))));
  }
  return section;
}

function hit(found, rank, place) {
  const most = Math.max(...found.words.map((word) => word.contribution));
  const title = found.title.length ? marked(found.title, found.words, most) : [say("untitled")];
  const text = element("p", { className: "text" }, ...marked(found.text, found.words, most));
  if (found.before) text.prepend("… ");
  if (found.behind) text.append(" …");
  const body = element("article", {}, element("h3", {}, element("bdi", {}, ...title)), facts(found, place), text);
  if (found.words.length) body.append(why(found.words, most));
  return element("li", { className: "hit" }, element("span", { className: "rank", ariaHidden: "true" }, decimal(rank + 1)), body);
}

function marked(pieces, matched, most) {
  return pieces.map(([text, word]) => (word === null ? text : sized(element("mark", {}, text), matched[word].contribution / most)));
}

function facts(found, place) {
  const parts = [element("span", {}, say("score", { score: decimal(found.score, 3) })), element("span", { translate: false }, isolated(found.doc_id))];
  if (found.passage) parts.push(element("span", {}, say("passage", { n: found.passage.number + 1, of: found.passage.of })));
  const other = asked.answers[1 - place];
  if (other?.hits) {
    const rank = other.hits.findIndex((each) => each.doc_id === found.doc_id);
    parts.push(element("span", {}, rank < 0 ? say("only") : say("elsewhere", { n: rank + 1 })));
  }
  return element("p", { className: "facts" }, ...parts);
}

function why(matched, most) {
  const rows = matched.map((word) => {
    const notes = [word.origin === "word" || word.origin === "term" ? null : say(word.origin).toLowerCase()];
    if (word.source === "title") notes.push(say("inTitle"));
    if (word.source === "expansion" && word.origin !== "concepts") notes.push(say("notInText"));
    const note = element("span", { className: "muted" }, notes.filter(Boolean).join(", "));
    return element("li", {}, isolated(word.word), bar(word.contribution / most), number(word.contribution), note);
  });
  const list = element("ul", {}, ...rows.slice(0, SHOWN_WORDS));
  list.setAttribute("aria-label", say("why"));
  const rest = rows.slice(SHOWN_WORDS);
  const more = rest.length ? element("details", {}, element("summary", {}, say("more", { n: rest.length })), element("ul", {}, ...rest)) : null;
  return element("div", { className: "why" }, list, more);
}

// -- searching --------------------------------------------------------------------------------------------------------------

async function ask(path, signal) {
  const response = await fetch(path, { signal });
  const answer = await response.json().catch(() => ({ error: {} }));
  return response.ok || answer.error ? answer : { error: {} };
}

// An answer, or {error}; a search that a newer one has replaced stays silent.
async function askFor(what, parameters, signal) {
  try {
    return await ask(`api/${what}?${new URLSearchParams(parameters)}`, signal);
  } catch (error) {
    if (signal.aborted) throw error;
    return { error: {} };
  }
}

async function search(query, k) {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  at("query").value = query;
  at("count").value = k;
  if (!query.trim()) {
    asked = null;
    return speak();
  }
  at("status").textContent = say("searching");
  const models = stores.map((store) => store.fingerprint);
  const first = models.map((model, place) => (models.indexOf(model) === place ? place : null)).filter((place) => place !== null);
  try {
    const [readings, answers] = await Promise.all([
      Promise.all(first.map(async (place) => [place, await askFor("query", { store: place, q: query }, signal)])),
      Promise.all(stores.map((_, place) => askFor("search", { store: place, q: query, k }, signal))),
    ]);
    asked = { query, readings, answers };
  } catch (error) {
    if (signal.aborted) return;
    throw error;
  }
  speak();
}

function show() {
  const { readings = [], answers = [] } = asked ?? {};
  at("reading").replaceChildren(...readings.map(([place, answer]) => reading(answer, place, readings.length > 1)));
  at("results").replaceChildren(...answers.map(column));
  at("status").textContent = answers.some((answer) => answer.error) ? say("failed") : answers.map(summary).join(" ");
}

function summary(answer, place) {
  const found = say("found", { n: answer.hits.length, ms: decimal(answer.latency_ms, 1) });
  return stores.length > 1 ? `${stores[place].url}: ${found}.` : `${found}.`;
}

function fromAddress() {
  const given = new URLSearchParams(location.search);
  const known = [...at("count").options].map((option) => option.value);
  return search(given.get("q") ?? "", known.includes(given.get("k")) ? given.get("k") : "10");
}

at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const given = new URLSearchParams(new FormData(at("form")));
  history.pushState(null, "", `?${given}`);
  search(given.get("q"), given.get("k"));
});
at("language").addEventListener("click", () => {
  language = language === "pt" ? "en" : "pt";
  sessionStorage.setItem("language", language);
  speak();
});
addEventListener("popstate", fromAddress);
if (stores.error) {
  speak();
  at("results").append(failure(stores));
} else await fromAddress();
