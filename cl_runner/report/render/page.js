// A click on a column's heading sorts the table; a second click reverses the order.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    heading.replaceChildren(button);
    button.addEventListener("click", () => {
      const descending = heading.getAttribute("aria-sort") === "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const sign = descending ? -1 : 1;
      const rows = [...body.rows].sort((a, b) => compare(a.cells[column], b.cells[column], sign));
      body.append(...rows);
    });
  });
}

// Cells without a number come last in either order.
function compare(a, b, sign) {
  const [x, y] = [a.dataset.value, b.dataset.value];
  if (x !== undefined && y !== undefined) return sign * (Number(x) - Number(y));
  if (x !== undefined) return -1;
  if (y !== undefined) return 1;
  return sign * a.textContent.localeCompare(b.textContent, "en", { numeric: true });
}

// An animation is a row of pictures. One is shown at a time; without this script, the last one.
for (const player of document.querySelectorAll(".player")) {
  const frames = [...player.querySelectorAll("img")];
  const button = document.createElement("button");
  button.type = "button";
  const slider = document.createElement("input");
  Object.assign(slider, { type: "range", min: 0, max: frames.length - 1, value: frames.length - 1 });
  slider.setAttribute("aria-label", "frame");
  const controls = document.createElement("p");
  controls.append(button, slider);
  player.append(controls);
  let timer = null;

  function show() {
    frames.forEach((frame, number) => frame.classList.toggle("shown", number === Number(slider.value)));
  }
  function stop() {
    clearInterval(timer);
    timer = null;
    button.textContent = "Play";
  }
  function step() {
    slider.value = Number(slider.value) + 1;
    show();
    if (slider.value === slider.max) stop();
  }
  button.addEventListener("click", () => {
    if (timer !== null) return stop();
    if (slider.value === slider.max) slider.value = 0;
    button.textContent = "Pause";
    timer = setInterval(step, 60);
  });
  slider.addEventListener("input", () => {
    stop();
    show();
  });
  stop();
  show();
}

// A box that has to be scrolled says so, and only then. Without this script, narrow windows say it of
// every box.
function hint() {
  for (const line of document.querySelectorAll(".hint")) {
    const box = line.nextElementSibling;
    line.classList.add("checked");
    line.classList.toggle("needed", box.scrollWidth > box.clientWidth + 1);
  }
}
hint();
addEventListener("resize", hint);
for (const folded of document.querySelectorAll("details")) folded.addEventListener("toggle", hint);
