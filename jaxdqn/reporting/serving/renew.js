// Asks for the page every few seconds, and shows it in place of the old one if it has changed.
const EVERY_MS = 4000;

function show(fresh) {
  const body = document.importNode(fresh.body, true);
  const films = new Map();
  for (const film of document.querySelectorAll("video")) films.set(film.dataset.run, film);
  const [x, y] = [scrollX, scrollY];
  const sideways = Array.from(document.querySelectorAll(".wide"), (each) => each.scrollLeft);
  const open = new Map();
  for (const each of document.querySelectorAll("details")) open.set(each.dataset.of, each.open);
  for (const film of body.querySelectorAll("video")) {
    const old = films.get(film.dataset.run);
    // A film that is moved within one task plays on.
    if (old?.getAttribute("src") === film.getAttribute("src")) film.replaceWith(old);
    else if (old && !old.paused) film.autoplay = true;
  }
  document.body.replaceChildren(...body.childNodes);
  document.title = fresh.title;
  for (const each of document.querySelectorAll("details"))
    each.open = open.get(each.dataset.of) ?? false;
  document.querySelectorAll(".wide").forEach((each, i) => (each.scrollLeft = sideways[i] ?? 0));
  scrollTo(x, y);
}

function tell(problem) {
  const status = document.getElementById("renewal");
  status.classList.toggle("bad", problem !== "");
  status.textContent = problem || usual;
}

async function renew() {
  let problem = "";
  try {
    const answer = await fetch("/", { headers: { "If-None-Match": `"${version}"` } });
    const text = await answer.text();
    if (answer.ok) {
      const fresh = new DOMParser().parseFromString(text, "text/html");
      version = fresh.querySelector("meta[name=version]").content;
      show(fresh);
    } else if (answer.status !== 304) problem = text;
    renewed = new Date();
  } catch {
    problem = `Not renewed since ${renewed.toLocaleTimeString()}: the server does not answer.`;
  }
  tell(problem);
}

async function again() {
  // Nobody sees a hidden page, and a new one would end a film that fills the screen.
  if (!document.hidden && !document.fullscreenElement) await renew();
  setTimeout(again, EVERY_MS);
}

const usual = document.getElementById("renewal").textContent;
let version = document.querySelector("meta[name=version]").content;
let renewed = new Date();
setTimeout(again, EVERY_MS);
