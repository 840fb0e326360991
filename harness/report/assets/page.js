"use strict";
(() => {
  const root = document.documentElement;
  const byId = (id) => document.getElementById(id);
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const hidden = new Set();
  const count = all(".chip").length;
  const still = byId("still");
  still.textContent = "";

  // ---- light and dark ----
  const preferred = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => root.dataset.theme === "dark";
  const setTheme = (name) => {
    root.dataset.theme = name;
    byId("theme").setAttribute("aria-pressed", String(name === "dark"));
    repaint();
  };
  byId("theme").addEventListener("click", () => setTheme(dark() ? "light" : "dark"));
  preferred.addEventListener("change", (event) => setTheme(event.matches ? "dark" : "light"));

  // ---- charts, each drawn when it comes near the window ----
  const charts = new Map();
  const live = new Set();
  let plotly = null;

  const faded = (color, share) => color + Math.round(255 * share).toString(16).padStart(2, "0");

  function painted(trace) {
    const meta = trace.meta;
    if (meta.role === "heat") return heat(trace);
    const color = dark() ? meta.dark : meta.light;
    const copy = { ...trace, showlegend: false, visible: !hidden.has(meta.method) };
    if (meta.role === "band") return { ...copy, fillcolor: faded(color, 0.15), line: { ...trace.line, color } };
    if (trace.line) copy.line = { ...trace.line, color };
    if (trace.marker || trace.type === "bar") copy.marker = { ...trace.marker, color };
    if (copy.marker && copy.marker.line) copy.marker.line = { ...copy.marker.line, color };
    if (trace.error_x) copy.error_x = { ...trace.error_x, color: faded(color, 0.7) };
    if (trace.error_y) copy.error_y = { ...trace.error_y, color: faded(color, 0.4) };
    if (trace.textfont) copy.textfont = { ...trace.textfont, color };
    return copy;
  }

  function heat(trace) {
    const { methods, names } = trace.meta;
    const rows = methods.map((_, row) => row).filter((row) => !hidden.has(methods[row]));
    const of = (values) => rows.map((row) => values[row]);
    const colors = dark() ? ["#1c2530", "#1d5f96", "#8cc8f2"] : ["#f4f8fc", "#6baed6", "#0b4a8c"];
    return {
      ...trace,
      z: of(trace.z),
      text: of(trace.text),
      hovertext: of(trace.hovertext),
      colorscale: colors.map((color, step) => [step / (colors.length - 1), color]),
      names: of(names),
    };
  }

  function arranged(chart, traces, width) {
    const style = getComputedStyle(root);
    const color = (name) => style.getPropertyValue(name).trim();
    const axis = {
      gridcolor: color("--grid"), linecolor: color("--soft"), tickcolor: color("--soft"), zeroline: false,
      showline: true, ticks: "outside", ticklen: 3, fixedrange: true, title: { standoff: 6, font: { size: 11 } },
    };
    const merged = (own) => ({ ...axis, ...own, title: { ...axis.title, ...own.title } });
    const layout = {
      ...chart.layout,
      xaxis: merged({ automargin: true, ...chart.layout.xaxis }),
      yaxis: merged({ automargin: true, ...chart.layout.yaxis }),
      font: { family: style.getPropertyValue("--plain"), size: 11, color: color("--soft") },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest",
      margin: { l: 38, r: 8, t: 8, b: 34 }, width, height: width > 460 ? 340 : 240,
      hoverlabel: {
        align: "left", bgcolor: color("--ground"), bordercolor: color("--soft"),
        font: { family: style.getPropertyValue("--plain"), size: 12, color: color("--ink") },
      },
    };
    const map = traces.find((trace) => trace.names);
    if (map) {
      layout.yaxis = { ...layout.yaxis, tickmode: "array", tickvals: map.names.map((_, row) => row), ticktext: map.names, showline: false };
      layout.xaxis.showline = false;
      layout.height = 90 + 40 * map.names.length;
      layout.width = Math.max(width, 200 + 78 * (map.z[0] || []).length);
      layout.margin = { l: 38, r: 8, t: 60, b: 8 };
    }
    return layout;
  }

  function drawChart(element) {
    const chart = charts.get(element);
    const width = element.parentElement.clientWidth;
    if (!width) return;
    const traces = chart.traces.map(painted);
    const layout = arranged(chart, traces, width);
    live.add(element);
    plotly.react(element, traces, layout, { displayModeBar: false, responsive: false }).then(() => {
      clear(element);
      hint(element.parentElement);
    });
  }

  // A label that would cover an earlier one is left out; pointing at its value tells it.
  function clear(element) {
    const kept = [];
    for (const text of all(".scatterlayer text", element)) {
      text.style.visibility = "";
      const box = text.getBoundingClientRect();
      const covers = kept.some((other) => box.left < other.right && other.left < box.right && box.top < other.bottom && other.top < box.bottom);
      if (covers) text.style.visibility = "hidden";
      else kept.push(box);
    }
  }

  // What is wider than its place fades out at the side where it goes on.
  const watched = new Set();
  function hint(box) {
    const update = () => {
      const left = box.scrollLeft > 2;
      const right = box.scrollLeft + box.clientWidth < box.scrollWidth - 2;
      box.classList.toggle("more-left", left);
      box.classList.toggle("more-right", right);
    };
    if (!watched.has(box)) {
      watched.add(box);
      box.addEventListener("scroll", update, { passive: true });
      new ResizeObserver(update).observe(box);
    }
    update();
  }

  function repaint() {
    for (const element of live) drawChart(element);
  }

  // ---- methods ----
  const rule = document.head.appendChild(document.createElement("style"));
  const redrawTables = [];

  function apply() {
    rule.textContent = hidden.size ? [...hidden].map((m) => `[data-m="${m}"]`).join(",") + "{display:none !important}" : "";
    for (const button of all("[data-method]")) {
      button.setAttribute("aria-pressed", String(!hidden.has(Number(button.dataset.method))));
    }
    byId("all").disabled = hidden.size === 0;
    for (const redraw of redrawTables) redraw();
    repaint();
  }

  function toggle(method) {
    if (!hidden.delete(method)) hidden.add(method);
    apply();
  }

  function isolate(method) {
    const alone = hidden.size === count - 1 && !hidden.has(method);
    hidden.clear();
    if (!alone) for (let other = 0; other < count; other += 1) if (other !== method) hidden.add(other);
    apply();
  }

  for (const button of all("[data-method]")) {
    const method = Number(button.dataset.method);
    button.title = "Click: hide or show. Double-click or Shift+Enter: this one alone.";
    button.addEventListener("click", (event) => (event.shiftKey ? isolate(method) : toggle(method)));
    button.addEventListener("dblclick", (event) => { if (!event.shiftKey) isolate(method); });
  }
  byId("all").addEventListener("click", () => { hidden.clear(); apply(); });

  // ---- commands ----
  for (const button of all(".copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const code = button.previousElementSibling;
      try {
        await navigator.clipboard.writeText(code.textContent);
      } catch {
        getSelection().selectAllChildren(code);
        document.execCommand("copy");
      }
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }

  // ---- libraries that the page carries ----
  async function inflated(id) {
    const bytes = Uint8Array.from(atob(byId(id).textContent), (char) => char.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  }

  async function run(id) {
    const script = document.createElement("script");
    script.textContent = await inflated(id);
    document.head.append(script);
    byId(id).remove();
  }

  // ---- tables ----
  const FEW = 12;
  const PAGE = 25;

  function enhance(table, DataTable) {
    const rows = table.tBodies[0].rows.length;
    if (rows < 2) return;
    const heads = [...table.tHead.rows[0].cells];
    const numeric = heads.flatMap((head, place) => (head.classList.contains("n") ? [place] : []));
    const plain = heads.flatMap((head, place) => (head.classList.contains("n") ? [] : [place]));
    const many = rows > FEW;
    const paged = rows > PAGE;
    const made = new DataTable(table, {
      autoWidth: false, order: [], paging: paged, pageLength: PAGE, lengthMenu: [PAGE, 100, { label: "all", value: -1 }],
      columnDefs: [{ targets: numeric, type: "measure" }, { targets: plain, type: "plain" }],
      layout: {
        topStart: many ? "search" : null, topEnd: paged ? "pageLength" : null,
        bottomStart: many ? "info" : null, bottomEnd: paged ? "paging" : null,
      },
      language: { search: "Filter", info: "_START_ to _END_ of _TOTAL_ rows", infoFiltered: "(of _MAX_)", infoEmpty: "no rows", lengthMenu: "_MENU_ rows a page" },
    });
    redrawTables.push(() => made.draw(false));
    addEventListener("beforeprint", () => { if (paged) made.page.len(rows > 200 ? PAGE : -1).draw(false); });
    addEventListener("afterprint", () => { if (paged) made.page.len(PAGE).draw(false); });
  }

  async function tables() {
    await run("tables");
    const { DataTable } = window;
    const empty = (value) => value === "" || value === null || value === undefined;
    const measured = (sign) => (a, b) => (empty(a) ? (empty(b) ? 0 : 1) : empty(b) ? -1 : sign * (Number(a) - Number(b)));
    DataTable.ext.type.order["measure-asc"] = measured(1);
    DataTable.ext.type.order["measure-desc"] = measured(-1);
    DataTable.ext.type.order["plain-asc"] = (a, b) => a.localeCompare(b, "en", { numeric: true });
    DataTable.ext.type.order["plain-desc"] = (a, b) => b.localeCompare(a, "en", { numeric: true });
    DataTable.ext.errMode = "throw";
    DataTable.ext.search.push((settings, _, index) => {
      const owner = settings.aoData[index].nTr.dataset.m;
      return owner === undefined || !hidden.has(Number(owner));
    });
    for (const table of all("figure.table table")) {
      enhance(table, DataTable);
      await new Promise((resolve) => setTimeout(resolve));
    }
    for (const box of all(".dt-layout-table > div, .scroll")) hint(box);
    root.dataset.tables = "ready";
  }

  // ---- plots ----
  async function plots() {
    const data = JSON.parse(await inflated("data"));
    await run("plotly");
    plotly = window.Plotly;
    const near = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (entry.isIntersecting && !live.has(entry.target)) drawChart(entry.target);
      }
    }, { rootMargin: "400px" });
    for (const figure of all("figure.plot")) {
      all(".chart", figure).forEach((element, place) => {
        charts.set(element, data[figure.dataset.plot][place]);
        near.observe(element);
      });
      all("img", figure).forEach((picture) => { picture.hidden = true; });
      all(".live", figure).forEach((part) => { part.hidden = false; });
    }
    let width = innerWidth;
    let pending = 0;
    addEventListener("resize", () => {
      if (innerWidth === width) return;
      width = innerWidth;
      clearTimeout(pending);
      pending = setTimeout(repaint, 150);
    });
    root.dataset.plots = "ready";
  }

  // ---- contents and print ----
  const contents = byId("contents");
  const links = new Map(all("#contents a").map((link) => [link.getAttribute("href").slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of links.values()) link.removeAttribute("aria-current");
      const link = links.get(entry.target.id);
      link?.setAttribute("aria-current", "true");
      if (link && contents.scrollHeight > contents.clientHeight) {
        contents.scrollTop = link.offsetTop - contents.clientHeight / 2;
      }
    }
  }, { rootMargin: "-15% 0px -80% 0px" });
  for (const id of links.keys()) if (byId(id)) seen.observe(byId(id));
  const listed = contents.querySelector("details");
  const wide = matchMedia("(min-width: 70rem)");
  const close = () => { contents.classList.remove("over"); if (!wide.matches) listed.open = false; };
  close();
  wide.addEventListener("change", () => { contents.classList.remove("over"); listed.open = wide.matches; });
  document.querySelector(".to-contents").addEventListener("click", (event) => {
    event.preventDefault();
    if (contents.classList.contains("over")) return close();
    contents.classList.add("over");
    listed.open = true;
    (contents.querySelector("[aria-current]") ?? contents.querySelector("a")).focus({ preventScroll: false });
  });
  contents.addEventListener("click", (event) => { if (event.target.closest("a")) close(); });
  addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });

  // A link leads to what is folded, too.
  function reveal() {
    const target = byId(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    const inner = target.querySelector(":scope > details.part, :scope > details.fold");
    for (let part = inner ?? target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
    target.scrollIntoView({ behavior: "instant" });
  }
  addEventListener("hashchange", reveal);
  for (const link of links.values()) link.addEventListener("click", () => { if (link.hash === location.hash) reveal(); });
  if (location.hash) reveal();

  let opened = [];
  addEventListener("beforeprint", () => {
    opened = all("details:not([open])");
    for (const part of opened) part.open = true;
  });
  addEventListener("afterprint", () => { for (const part of opened) part.open = false; });

  byId("bar").hidden = count === 0;
  setTheme(preferred.matches ? "dark" : "light");
  if (typeof DecompressionStream === "undefined") {
    still.textContent = "This browser cannot unpack the interactive parts: the pictures are still, the tables complete.";
    return;
  }
  Promise.all([tables(), plots()]).catch((error) => {
    still.textContent = "The interactive parts did not start: the pictures are still, the tables complete.";
    console.error(error);
  });
})();
