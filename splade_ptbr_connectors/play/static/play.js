// The page: asks the server, and shows what it says. Texts of documents become text nodes only, never markup.

const LANGUAGES = { pt: "pt-BR", en: "en" };
const SHOWN = 5; // words of a hit, and of one origin of the query; the others unfold
const ORIGINS = ["word", "thesaurus", "network", "concepts", "term"];

const at = (id) => document.getElementById(id);
const [words, stores] = await Promise.all([ask("words.json"), ask("api/stores")]);
let language = startLanguage();
let asked = null; // the last search: its query, filter and answers, one a store; an error is {error}
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

// A list, of which later rows are folded away.
function unfolding(rows, label) {
  const list = element("ul", { ariaLabel: label }, ...rows.slice(0, SHOWN));
  const rest = rows.slice(SHOWN);
  if (!rest.length) return [list];
  return [list, element("details", {}, element("summary", {}, say("more", { n: rest.length })), element("ul", {}, ...rest))];
}

function failure({ error }) {
  const text = error.type ? [element("b", { lang: "en" }, error.type), element("br"), element("span", { lang: "en" }, error.message)] : [say("unreachable")];
  return element("p", { className: "error" }, ...text);
}

// -- the query as the model reads it --------------------------------------------------------------------------------------

function reading(answer, number, several) {
  const title = several ? say("readingOf", { model: stores[number].model }) : say("reading");
  return element("section", { ariaLabel: title }, element("h2", {}, title), groups(answer.query));
}

function groups(all) {
  const most = Math.max(...all.map((word) => word.weight));
  const list = element("dl", { className: "groups" });
  for (const origin of ORIGINS) {
    const members = all.filter((word) => word.origin === origin);
    if (!members.length) continue;
    const items = members.map((word) => element("li", {}, isolated(word.word), bar(word.weight / most), number(word.weight)));
    list.append(element("dt", {}, say(origin)), element("dd", { className: "weighed" }, ...unfolding(items, say(origin))));
  }
  return list;
}

// -- hits -----------------------------------------------------------------------------------------------------------------

function column(answer, place) {
  const { url, documents, model } = stores[place];
  const head = element("h2", { translate: false }, isolated(url));
  const section = element("section", { className: "store", ariaLabel: say("store", { store: url }) }, head);
  const known = [say("documents", { n: documents }), say("model", { model })];
  if (answer.hits) known.push(say("found", { n: answer.hits.length }));
  section.append(element("p", { className: "muted" }, known.join(" · ")));
  section.append(...unknownFields(answer).map((text) => element("p", { className: "hint" }, text)));
  if (answer.error) section.append(failure(answer));
  else if (!answer.hits.length) section.append(element("p", {}, say(asked.filter ? "nothingPassing" : "nothing")));
  else section.append(element("ol", {}, ...answer.hits.map((each, rank) => hit(each, rank, place))));
  return section;
}

function unknownFields(answer) {
  return (answer.unknown_fields ?? []).map((field) => say("unknownField", { field }));
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
  return element("div", { className: "why" }, ...unfolding(rows, say("why")));
}

// -- searching --------------------------------------------------------------------------------------------------------------

async function ask(path, signal) {
  const response = await fetch(path, { signal });
  const answer = await response.json().catch(() => ({ error: {} }));
  return response.ok || answer.error ? answer : { error: {} };
}

// An answer, or {error}; a search that a newer one has replaced stays silent.
async function askFor(parameters, signal) {
  try {
    return await ask(`api/search?${new URLSearchParams(parameters)}`, signal);
  } catch (error) {
    if (signal.aborted) throw error;
    return { error: {} };
  }
}

async function search(query, k, filter) {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  at("query").value = query;
  at("count").value = k;
  at("filter").value = filter;
  asked = null;
  if (!query.trim()) return speak();
  at("status").textContent = say("searching");
  try {
    const parameters = { q: query, k, ...(filter && { filter }) };
    asked = { query, filter, answers: await Promise.all(stores.map((_, store) => askFor({ store, ...parameters }, signal))) };
  } catch (error) {
    if (signal.aborted) return;
    throw error;
  }
  speak();
}

function show() {
  const wrong = asked?.answers.find((answer) => answer.error?.of === "filter"); // the same for every store
  at("filter").ariaInvalid = String(Boolean(wrong));
  at("problem").replaceChildren(...(wrong ? [failure(wrong)] : []));
  const answers = wrong ? [] : (asked?.answers ?? []);
  const models = stores.map?.((store) => store.fingerprint);
  const read = [...answers.keys()].filter((place) => models.indexOf(models[place]) === place && answers[place].query?.length);
  at("reading").replaceChildren(...read.map((place) => reading(answers[place], place, read.length > 1)));
  at("results").replaceChildren(...answers.map(column));
  const failed = wrong ? "badFilter" : answers.some((answer) => answer.error) ? "failed" : null;
  at("status").textContent = failed ? say(failed) : answers.map(summary).join(" ");
}

function summary(answer, place) {
  const found = [`${say("found", { n: answer.hits.length })}.`, ...unknownFields(answer)].join(" ");
  return stores.length > 1 ? `${stores[place].url}: ${found}` : found;
}

function fromAddress() {
  const given = new URLSearchParams(location.search);
  const known = [...at("count").options].map((option) => option.value);
  return search(given.get("q") ?? "", known.includes(given.get("k")) ? given.get("k") : "10", given.get("filter") ?? "");
}

at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const given = new URLSearchParams(new FormData(at("form")));
  const filter = given.get("filter").trim();
  if (filter) given.set("filter", filter);
  else given.delete("filter");
  history.pushState(null, "", `?${given}`);
  search(given.get("q"), given.get("k"), filter);
});
at("language").addEventListener("click", () => {
  language = language === "pt" ? "en" : "pt";
  sessionStorage.setItem("language", language);
  speak();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // a fragment in the address would be a step of its history
  at("results").focus();
});
addEventListener("popstate", fromAddress);
if (stores.error) {
  speak();
  at("results").append(failure(stores));
} else await fromAddress();
