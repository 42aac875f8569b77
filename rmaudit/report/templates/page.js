// Search, filter and folding. Without scripts everything can still be opened and read.
const all = (selector) => [...document.querySelectorAll(selector)];

function unfold(opened) {
  for (const fold of all("details.paper, details:has(details.paper)")) fold.open = opened;
}

// Printing opens what belongs on paper, and only that.
addEventListener("beforeprint", () => {
  for (const fold of all("details.paper:not([open])")) {
    fold.open = true;
    fold.dataset.opened = "";
  }
});
addEventListener("afterprint", () => {
  for (const fold of all("details[data-opened]")) {
    fold.open = false;
    delete fold.dataset.opened;
  }
});

// On a phone the contents are folded: the verdict comes first.
const menu = document.querySelector(".menu");
const phone = matchMedia("(max-width: 36rem)");
const fit = () => { menu.open = !phone.matches; };
phone.addEventListener("change", fit);
fit();

// A link into a folded part opens it, and the audit it leads to.
function follow() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (!target) return;
  // Of a cause, the first example.
  const own = target.querySelector(":scope > details, :scope > .proof details");
  if (own) own.open = true;
  for (let node = target; node; node = node.parentElement) {
    if (node.tagName === "DETAILS") node.open = true;
  }
  target.scrollIntoView();
}
addEventListener("hashchange", follow);
// The same link again changes no address: what was folded since is opened all the same.
addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#"]');
  if (link && link.hash === location.hash) follow();
});
follow();

const filter = document.querySelector(".filter");
if (filter) {
  filter.classList.remove("off");
  const search = document.getElementById("search");
  const button = document.getElementById("unfold");
  const boxes = all('.filter input[type="checkbox"]');
  const matches = document.getElementById("matches");
  const apply = () => {
    const levels = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    const wanted = search.value.trim().toLowerCase();
    let count = 0;
    for (const group of all("article.finding")) {
      const named = group.querySelector("h3").textContent.toLowerCase().includes(wanted);
      let shown = 0;
      for (const proof of group.querySelectorAll(".proof")) {
        const fits = named || proof.textContent.toLowerCase().includes(wanted);
        proof.hidden = !(fits && levels.has(proof.dataset.severity));
        if (!proof.hidden) shown += 1;
      }
      group.hidden = shown === 0;
      const more = group.querySelector("details.more");
      if (more && wanted) more.open = true;
      count += shown;
    }
    matches.textContent = `${count} shown`;
  };
  search.addEventListener("input", apply);
  for (const box of boxes) box.addEventListener("change", apply);
  button.addEventListener("click", () => {
    const opened = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(opened));
    button.textContent = opened ? "Close all" : "Open all";
    unfold(opened);
  });
}

// The contents mark the section in view.
const links = new Map(all(".contents a").map((link) => [link.hash.slice(1), link]));
if (links.size && "IntersectionObserver" in window) {
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const link = links.get(entry.target.id);
      if (!link || !entry.isIntersecting) continue;
      for (const other of links.values()) other.removeAttribute("aria-current");
      link.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "0px 0px -70% 0px" });
  for (const id of links.keys()) {
    const section = document.getElementById(id);
    if (section) seen.observe(section);
  }
}
