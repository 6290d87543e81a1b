"use strict";
(() => {
  const root = document.documentElement;
  const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  // Figures: the still picture stays for print, and where scripts do not run.
  const figures = [...document.querySelectorAll("figure")];
  const theme = () => ({
    "font.color": css("--ink"),
    "hoverlabel.bgcolor": css("--card"),
    "hoverlabel.bordercolor": css("--line"),
    "hoverlabel.font.color": css("--ink"),
  });
  const same = (a, b) => Math.abs(a[0] - b[0]) + Math.abs(a[1] - b[1]) < 1e-6;
  const narrow = () => window.innerWidth < 640;
  if (window.Plotly) {
    for (const figure of figures) {
      const live = figure.querySelector(".live");
      const { data, layout } = JSON.parse(figure.querySelector("script").textContent);
      const first = [...layout.xaxis.range];
      const [vals, texts] = [layout.xaxis.tickvals ?? [], layout.xaxis.ticktext ?? []];
      layout.autosize = true;
      layout.dragmode = narrow() ? false : "zoom";
      const config = { displayModeBar: false, responsive: true };
      figure.classList.add("alive");
      Plotly.newPlot(live, data, layout, config).then(() => {
        // The ticks chosen for the whole do for the whole, thinned to the room there is; zoomed in, plotly's own.
        const thin = () => {
          const [low, high] = first;
          const room = live.clientWidth - 90;
          let last = -Infinity;
          const kept = vals.map((v) => {
            const x = ((Math.log10(v) - low) / (high - low)) * room;
            const fits = x - last > 58;
            if (fits) last = x;
            return fits;
          });
          const pick = (list) => list.filter((_, k) => kept[k]);
          return { "xaxis.tickmode": "array", "xaxis.tickvals": pick(vals), "xaxis.ticktext": pick(texts) };
        };
        Plotly.relayout(live, { ...theme(), ...thin() });
        window.addEventListener("resize", () => {
          if (live.layout.xaxis.tickmode !== "auto") Plotly.relayout(live, thin());
        });
        live.on("plotly_relayout", (change) => {
          if (!Object.keys(change).some((name) => name.startsWith("xaxis.range"))) return;
          const mode = same(live.layout.xaxis.range, first) ? "array" : "auto";
          if (mode !== live.layout.xaxis.tickmode) {
            Plotly.relayout(live, mode === "auto" ? { "xaxis.tickmode": mode } : thin());
          }
        });
        live.on("plotly_click", (event) => show(event.points[0].customdata));
      });
    }
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      for (const figure of figures) Plotly.relayout(figure.querySelector(".live"), theme());
    });
  }

  // A point in a figure, a card or the table opens its recipe.
  const open = (details) => {
    if (!details || details.tagName !== "DETAILS") return;
    details.open = true;
    details.scrollIntoView({ block: "center", behavior: "smooth" });
    details.classList.remove("lit");
    void details.offsetWidth;
    details.classList.add("lit");
  };
  const show = (id) => open([...document.querySelectorAll("details.recipe")].find((d) => d.dataset.id === id));
  for (const link of document.querySelectorAll('a[href^="#point-"]')) {
    link.addEventListener("click", () => setTimeout(() => open(document.querySelector(link.getAttribute("href")))));
  }

  // The table: a heading sorts, what was not measured stays last.
  const table = document.querySelector("table.points");
  if (!table) return;
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const original = [...body.rows];
  const key = (row, index) => {
    const text = row.cells[index].dataset.sort;
    return index === 0 ? text : text === "" ? null : Number(text);
  };
  heads.forEach((head, index) => {
    head.querySelector("button").addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const order = before === "ascending" ? "descending" : before === "descending" ? null : "ascending";
      heads.forEach((h) => h.removeAttribute("aria-sort"));
      if (order) head.setAttribute("aria-sort", order);
      const sign = order === "descending" ? -1 : 1;
      const rows = [...original];
      if (order) {
        rows.sort((a, b) => {
          const [x, y] = [key(a, index), key(b, index)];
          if (x === null || y === null) return (x === null) - (y === null);
          return sign * (typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : x - y);
        });
      }
      body.append(...rows);
    });
  });
  const only = document.getElementById("only");
  only.parentElement.hidden = false;
  only.addEventListener("change", () => table.classList.toggle("only", only.checked));
})();
