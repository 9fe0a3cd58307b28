const project = document.getElementById("project");
const outcome = document.getElementById("outcome");
const none = document.getElementById("none");

function filter() {
  const fits = (element) =>
    (project.value === "*" || element.dataset.project === project.value) &&
    (outcome.value === "*" || element.dataset.outcome === undefined ||
      element.dataset.outcome === outcome.value);
  for (const element of document.querySelectorAll("[data-project]")) {
    element.hidden = !fits(element);
  }
  let shown = 0;
  for (const group of document.querySelectorAll("[data-group]")) {
    const rows = [...group.querySelectorAll("[data-outcome]")];
    group.hidden = !rows.some((row) => !row.hidden);
    shown += !group.hidden;
  }
  none.hidden = shown > 0;
}

project.addEventListener("change", filter);
outcome.addEventListener("change", filter);
document.getElementById("filter").hidden = false;
filter();
