// Draws the charts that the JSON in the page describes, in the colours of the reader's scheme.
"use strict";
(() => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const kLight = {
    text: "#1b212c", quiet: "#5c6675", grid: "#e8ebef", card: "#ffffff",
    series: ["#2f5bd8", "#d9622b", "#1f8a5b", "#8d4bc9", "#a97b06", "#c2386b", "#23819c", "#6b7280"],
  };
  const kDark = {
    text: "#e1e7ef", quiet: "#97a3b4", grid: "#262e39", card: "#181e27",
    series: ["#7ea2ff", "#ff9d6b", "#5fcf9b", "#c59bff", "#e5b94a", "#ff8ab5", "#67c7e3", "#a7b0be"],
  };

  // One name has one colour in the whole page; a new name takes the first that its chart leaves free.
  const place = new Map();
  for (const chart of charts) {
    const taken = new Set(chart.series.map((series) => place.get(series.name)));
    for (const {name} of chart.series) {
      if (place.has(name)) continue;
      let free = 0;
      while (taken.has(free)) ++free;
      place.set(name, free);
      taken.add(free);
    }
  }

  const faded = (colour, alpha) => colour + Math.round(alpha * 255).toString(16).padStart(2, "0");
  const short = (value) => typeof value === "number" ? String(Number(value.toPrecision(5))) : value;

  // Chart.js has no error bars: a stem between low and high, on bars and points.
  const whiskers = {
    id: "whiskers",
    afterDatasetsDraw(chart) {
      const flat = chart.options.indexAxis === "y";
      chart.data.datasets.forEach((dataset, i) => {
        if (!dataset.whiskers || !chart.isDatasetVisible(i)) return;
        const c = chart.ctx, scale = flat ? chart.scales.x : chart.scales.y;
        c.save();
        c.strokeStyle = dataset.whiskerColor;
        c.lineWidth = 1.5;
        chart.getDatasetMeta(i).data.forEach((element, k) => {
          const ends = dataset.whiskers[k];
          if (!ends || ends[0] === null || ends[1] === null) return;
          const [low, high] = ends.map((v) => scale.getPixelForValue(v));
          c.beginPath();
          if (flat) {
            c.moveTo(low, element.y); c.lineTo(high, element.y);
            for (const x of [low, high]) { c.moveTo(x, element.y - 4); c.lineTo(x, element.y + 4); }
          } else {
            c.moveTo(element.x, low); c.lineTo(element.x, high);
            for (const y of [low, high]) { c.moveTo(element.x - 4, y); c.lineTo(element.x + 4, y); }
          }
          c.stroke();
        });
        c.restore();
      });
    },
  };

  function datasetsOf(chart, palette) {
    const sets = [];
    for (const series of chart.series) {
      const colour = palette.series[place.get(series.name) % palette.series.length];
      const named = chart.categories.length > 0;
      const data = named ? series.y : series.x.map((x, i) => ({x, y: series.y[i]}));
      const band = series.low.length > 0;
      const set = {label: series.name, data, borderColor: colour, backgroundColor: colour};
      if (chart.kind === "bar") {
        Object.assign(set, {backgroundColor: faded(colour, 0.85), borderWidth: 0, borderRadius: 3,
                            maxBarThickness: 28});
      } else {
        const points = chart.kind === "scatter" || data.length <= 40;
        Object.assign(set, {showLine: chart.kind === "line" || series.dashed, borderWidth: 2, tension: 0, spanGaps: false,
                            pointRadius: points ? (chart.kind === "scatter" ? 3 : 2) : 0,
                            pointHitRadius: 8, borderJoinStyle: "round"});
        if (series.dashed) Object.assign(set, {borderDash: [6, 5], borderWidth: 1.5, pointRadius: 0});
      }
      if (band && chart.kind !== "line") {
        set.whiskers = series.low.map((low, i) => [low, series.high[i]]);
        set.whiskerColor = palette.text;
      } else if (band) {
        const edge = (values) => ({
          label: series.name, data: named ? values : series.x.map((x, i) => ({x, y: values[i]})), borderWidth: 0,
          pointRadius: 0, pointHitRadius: 0, backgroundColor: faded(colour, 0.16), edge: true});
        sets.push({...edge(series.low), fill: false}, {...edge(series.high), fill: "-1"});
      }
      sets.push(set);
    }
    return sets;
  }

  function scaleOf(label, log, palette, whole) {
    const scale = {
      type: log ? "logarithmic" : "linear",
      title: {display: label !== "", text: label, color: palette.quiet, font: {size: 12}},
      grid: {color: palette.grid, borderColor: palette.grid, tickLength: 4},
      ticks: {color: palette.quiet, maxRotation: 0, autoSkipPadding: 14, font: {size: 11}},
    };
    if (!log) scale.ticks.maxTicksLimit = 8;
    if (log) scale.ticks.callback = (value, i, ticks) => {
      const power = Math.floor(Math.log10(value) + 1e-9), digit = Math.round(value / 10 ** power);
      const decades = Math.log10(ticks[ticks.length - 1].value / ticks[0].value);
      if (digit !== 1 && (decades > 3 || ![2, 5].includes(digit))) return "";
      return power < -3 || power > 5 ? value.toExponential(0) : String(Number(value.toPrecision(1)));
    };
    if (whole) scale.ticks.precision = 0;
    return scale;
  }

  function draw(canvas, chart, palette) {
    const named = chart.categories.length > 0;
    const flat = chart.kind === "bar" &&
                 (chart.categories.length > 8 || chart.categories.some((name) => name.length > 9));
    if (flat) canvas.parentNode.style.minHeight =
        `${5 + Math.max(6, chart.categories.length * (0.6 + 0.95 * chart.series.length))}rem`;
    const whole = chart.series.every((s) => s.x.every(Number.isInteger));
    const value = scaleOf(chart.y_label, chart.log_y, palette, false);
    if (chart.kind === "bar" && !chart.log_y) value.beginAtZero = true;
    const along = named ? {...scaleOf(chart.x_label, false, palette, false), type: "category",
                           offset: chart.kind === "bar"}
                        : scaleOf(chart.x_label, chart.log_x, palette, whole);
    if (named) {
      delete along.ticks.maxTicksLimit;
      along.grid = {...along.grid, display: false};
      if (flat) along.ticks.autoSkip = false;
    }
    return new Chart(canvas, {
      type: chart.kind,
      data: {labels: named ? chart.categories : undefined, datasets: datasetsOf(chart, palette)},
      plugins: [whiskers],
      options: {
        animation: false, responsive: true, maintainAspectRatio: false, locale: "en-US", normalized: false,
        indexAxis: flat ? "y" : "x",
        interaction: chart.kind === "scatter" ? {mode: "nearest", intersect: true}
                                              : {mode: "index", intersect: false, axis: flat ? "y" : "x"},
        scales: flat ? {x: value, y: along} : {x: along, y: value},
        plugins: {
          legend: {
            display: chart.series.length > 1, position: "top", align: "start",
            labels: {color: palette.text, boxWidth: 10, boxHeight: 10, usePointStyle: true, pointStyle: "rectRounded",
                     filter: (item, data) => !data.datasets[item.datasetIndex].edge},
            onClick(event, item, legend) {
              const visible = !legend.chart.isDatasetVisible(item.datasetIndex);
              legend.chart.data.datasets.forEach((set, i) => {
                if (set.label === item.text) legend.chart.setDatasetVisibility(i, visible);
              });
              legend.chart.update();
            },
          },
          tooltip: {
            backgroundColor: palette.card, titleColor: palette.text, bodyColor: palette.text,
            borderColor: palette.grid, borderWidth: 1, usePointStyle: true, boxPadding: 4,
            filter: (item) => !item.dataset.edge,
            callbacks: {
              title: (items) => items.length && !named ? `${chart.x_label || "x"} ${short(items[0].parsed.x)}`
                                                       : items.length ? items[0].label : "",
              label: (item) => `${item.dataset.label}: ${short(flat ? item.parsed.x : item.parsed.y)}`,
            },
          },
        },
      },
    });
  }

  let drawn = [];
  function drawAll(palette) {
    for (const chart of drawn) chart.destroy();
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    drawn = charts.map((chart, i) => draw(document.getElementById(`chart-${i}`), chart, palette));
  }
  const drawForScreen = () => drawAll(dark.matches ? kDark : kLight);
  drawForScreen();
  dark.addEventListener("change", drawForScreen);
  addEventListener("beforeprint", () => drawAll(kLight));
  addEventListener("afterprint", drawForScreen);
})();
