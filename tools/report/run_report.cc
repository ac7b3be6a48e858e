#include "tools/report/run_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <string_view>

#include "engine/io/file.h"
#include "engine/io/hash.h"
#include "engine/train/checkpointing.h"
#include "tools/command/live_line.h"
#include "tools/command/machine.h"
#include "tools/report/assessment_text.h"
#include "tools/report/layer_probe.h"
#include "tools/report/page.h"
#include "tools/report/picture_report.h"
#include "tools/report/predictions_report.h"
#include "tools/report/text_report.h"
#include "tools/report/text_samples.h"

namespace lockstep::inline v0_1::tools {
namespace {

using Row = std::vector<std::string>;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

std::string TextOfScale(double value, const char* format) {
  return value < 0.0 ? "-" : fmt::format(fmt::runtime(format), value);
}

std::string Capitalized(std::string text) {
  if (!text.empty() && text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 32);
  return text;
}

// Short: without the folder a file is in.
std::string DataName(const Recipe& recipe) {
  return recipe.data.kind == "csv" ? std::filesystem::path(recipe.data.path).filename().string()
                                   : recipe.data.kind;
}

const char* TitleOf(Metric metric) {
  switch (metric) {
    case Metric::kLoss:
      return "Loss";
    case Metric::kAccuracy:
      return "Accuracy";
    case Metric::kAuc:
      return "Area under the ROC curve";
    case Metric::kMae:
      return "Mean absolute error";
    case Metric::kR2:
      return "Coefficient of determination";
    case Metric::kExact:
      return "Samples that are right as a whole";
    case Metric::kPerplexity:
      return "Perplexity";
    case Metric::kBitsPerByte:
      return "Bits per byte";
    case Metric::kCoverage:
      return "Targets within the interval";
  }
  return "";
}

std::string TextOf(Metric metric, double value) {
  if (metric == Metric::kAccuracy || metric == Metric::kExact)
    return fmt::format("{:.2f} %", 100.0 * value);
  return metric == Metric::kMae ? ValueText(NameOf(metric), value) : LossText(value);
}

std::string ShortNameOf(Metric metric) {
  if (metric == Metric::kAuc) return "AUC";
  if (metric == Metric::kMae) return "MAE";
  std::string name = NameOf(metric);
  std::replace(name.begin(), name.end(), '_', ' ');  // bits_per_byte
  return name;
}

std::vector<std::string_view> Cells(std::string_view line) {
  std::vector<std::string_view> cells;
  for (size_t begin = 0;;) {
    const size_t comma = line.find(',', begin);
    cells.push_back(line.substr(begin, comma - begin));
    if (comma == std::string_view::npos) return cells;
    begin = comma + 1;
  }
}

// The columns of metrics.csv by name; NaN where a cell is empty. It holds the whole run, also what
// came before it was resumed.
Result<std::map<std::string, std::vector<double>>> ReadMetrics(const std::string& path) {
  LOCKSTEP_TRY_ASSIGN(const std::string text, ReadFile(path));
  std::map<std::string, std::vector<double>> columns;
  std::vector<std::string> names;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::vector<std::string_view> cells =
        Cells(std::string_view(text).substr(begin, end - begin));
    begin = end + 1;
    if (names.empty()) {
      names.assign(cells.begin(), cells.end());
      continue;
    }
    for (size_t c = 0; c < names.size(); ++c) {
      double value = kNan;
      if (c < cells.size())
        std::from_chars(cells[c].data(), cells[c].data() + cells[c].size(), value);
      columns[names[c]].push_back(value);
    }
  }
  return columns;
}

void AddResults(const RunReport& run, Page& page) {
  std::vector<std::pair<std::string, std::string>> numbers;
  if (!run.results.empty()) {
    const auto& [split, result] = run.results.back();
    for (const Metric metric :
         {Metric::kAccuracy, Metric::kExact, Metric::kPerplexity, Metric::kBitsPerByte,
          Metric::kAuc, Metric::kR2, Metric::kMae, Metric::kLoss}) {
      if (const auto value = ValueOf(result, metric)) {
        numbers.emplace_back(Capitalized(ShortNameOf(metric) + ", " + split),
                             TextOf(metric, *value));
      }
    }
  }
  numbers.emplace_back("Epochs", Grouped(run.summary.epochs));
  numbers.emplace_back("Parameters", Grouped(run.network.parameter_count()));
  numbers.emplace_back("Seconds", fmt::format("{:.1f}", run.summary.seconds));
  page.Numbers(numbers);

  if (!run.results.empty()) {
    Row header = {"split", "samples", "loss"};
    std::vector<Metric> metrics;
    for (const Metric metric : {Metric::kAccuracy, Metric::kExact, Metric::kPerplexity,
                                Metric::kBitsPerByte, Metric::kAuc, Metric::kMae, Metric::kR2}) {
      if (!ValueOf(run.results.back().second, metric)) continue;
      metrics.push_back(metric);
      header.push_back(ShortNameOf(metric));
    }
    std::vector<Row> rows;
    for (const auto& [split, result] : run.results) {
      Row row = {split, Grouped(result.samples), TextOf(Metric::kLoss, result.loss)};
      for (const Metric metric : metrics) {
        const auto value = ValueOf(result, metric);
        row.push_back(value ? TextOf(metric, *value) : "-");
      }
      rows.push_back(std::move(row));
    }
    if (const auto& best = run.data.best_test) {
      Row row = {"best possible", "", TextOf(Metric::kLoss, best->drawn_log_loss)};
      for (const Metric metric : metrics) {
        row.push_back(metric == Metric::kAccuracy ? TextOf(metric, best->drawn_accuracy)
                      : metric == Metric::kAuc    ? TextOf(metric, best->drawn_auc)
                                                  : "-");
      }
      rows.push_back(std::move(row));
    }
    page.Table("Results", header, rows);
  }
  std::vector<Row> facts = {
      {"status", StatusName(run.summary.reason)},
      {"steps", Grouped(run.summary.steps) + " of " + Grouped(run.total_steps)},
      {"data", run.data.train.dataset->info().name},
      {"memory", fmt::format("{:.1f} MB", static_cast<double>(run.network.bytes()) / 1e6)},
      {"parameter hash", HexOf(ModelHash(run.network))}};
  if (run.summary.best_metric) {
    facts.push_back(
        {"best validation", fmt::format("{} {:.5g} in epoch {}", run.recipe.train.monitor,
                                        *run.summary.best_metric, run.summary.best_epoch + 1)});
  }
  if (run.summary.skipped_batches > 0)
    facts.push_back({"batches skipped", Grouped(run.summary.skipped_batches)});
  page.Table("Run", {}, facts);
}

Status AddCurves(const RunReport& run, Page& page) {
  LOCKSTEP_TRY_ASSIGN(auto columns, ReadMetrics(run.folder.metrics()));
  std::vector<double> epochs = columns["epoch"];
  if (epochs.empty()) return Status::Ok();
  for (double& epoch : epochs) epoch += 1.0;
  const auto has = [&](const std::string& name) {
    return std::any_of(columns[name].begin(), columns[name].end(),
                       [](double value) { return value == value; });
  };
  // Where validations were rare, the line goes from one to the next.
  const auto series = [&](const std::string& name, const std::string& column) {
    Series one{.name = name};
    for (size_t i = 0; i < epochs.size(); ++i) {
      const double value = columns[column][i];
      if (value != value) continue;
      one.x.push_back(epochs[i]);
      one.y.push_back(value);
    }
    return one;
  };
  page.Heading("How it went");
  Chart loss{.title = "Loss", .x_label = "epoch", .y_label = "loss"};
  loss.series.push_back(series("training", "train_loss"));
  if (has("loss")) loss.series.push_back(series("validation", "loss"));
  page.Plot(loss);
  if (IsText(run.data.train.dataset->info())) {
    loss.title = "Perplexity";
    loss.y_label = "perplexity";
    loss.log_y = true;
    for (Series& one : loss.series) {
      for (double& y : one.y) y = std::exp(y);
    }
    page.Plot(loss);
  }
  for (const Metric metric : {Metric::kAccuracy, Metric::kExact, Metric::kBitsPerByte, Metric::kAuc,
                              Metric::kMae, Metric::kR2}) {
    if (!has(NameOf(metric))) continue;
    page.Plot({.title = std::string(TitleOf(metric)) + ", validation",
               .x_label = "epoch",
               .y_label = ShortNameOf(metric),
               .series = {series("validation", NameOf(metric))}});
  }

  Series rate{.name = "learning rate"};
  constexpr int64_t kPoints = 300;
  const int64_t steps = std::max<int64_t>(run.summary.steps, 1);
  for (int64_t i = 0; i <= std::min(kPoints, steps - 1); ++i) {
    const int64_t step = i * (steps - 1) / std::max<int64_t>(std::min(kPoints, steps - 1), 1);
    rate.x.push_back(static_cast<double>(step) / static_cast<double>(run.batches_per_epoch));
    rate.y.push_back(run.recipe.optimizer.learning_rate *
                     ScheduleFactor(run.schedule, step, run.total_steps));
  }
  page.Plot({.title = "Learning rate",
             .x_label = "epochs done",
             .y_label = "learning rate",
             .series = {std::move(rate)}});
  page.Plot({.title = "Speed",
             .x_label = "epoch",
             .y_label = "samples per second",
             .series = {series("samples per second", "samples_per_second")}});
  return Status::Ok();
}

void AddLayers(const RunReport& run, Page& page) {
  // So many that the page costs little of a run.
  const int passes = static_cast<int>(std::clamp<int64_t>(run.summary.steps / 500, 1, 9));
  page.Heading("Layers");
  const Result<std::vector<LayerFacts>> layers = ProbeLayers(run.network, run.data.train, passes);
  if (!layers.ok()) {  // a network that gives infinities still has a report
    page.Text("The layers could not be measured: " + layers.status().message());
    return;
  }
  const int64_t batch = std::min(run.network.input_shape().batch(),
                                 static_cast<int64_t>(run.data.train.indices.size()));
  std::string text = fmt::format(
      "Measured at the end, with the network as it was then: one batch of {} training samples goes "
      "forward and back in training mode {} times, without an update; times are medians.",
      batch, passes + 1);
  std::string fusions;
  for (const LayerReport& layer : run.network.program().graph().report()) {
    for (const std::string& note : layer.notes) {
      if (layer.path.empty()) fusions += (fusions.empty() ? "" : "; ") + note;
    }
  }
  if (!fusions.empty()) text += " Layers that work for their neighbours: " + fusions + ".";
  page.Text(text);

  Chart time{.title = "Time of a step by layer", .y_label = "ms", .kind = Chart::Kind::kBar};
  time.series = {{.name = "forward"}, {.name = "backward"}};
  Chart scale{.title = "Scale by layer (root mean square)", .y_label = "rms", .log_y = true};
  scale.series = {{.name = "output"},
                  {.name = "gradient of the input"},
                  {.name = "weights"},
                  {.name = "gradient of the weights"}};
  const auto value = [](double rms) { return rms < 0.0 ? kNan : rms; };
  std::vector<Row> rows;
  for (const LayerFacts& layer : *layers) {
    time.categories.push_back(layer.path + " " + layer.kind);
    time.series[0].y.push_back(layer.forward_ms);
    time.series[1].y.push_back(layer.backward_ms);
    scale.series[0].y.push_back(value(layer.output.rms));
    scale.series[1].y.push_back(value(layer.input_gradient.rms));
    scale.series[2].y.push_back(value(layer.weights.rms));
    scale.series[3].y.push_back(value(layer.weight_gradient.rms));
    rows.push_back(
        {layer.path, layer.kind, fmt::format("{:.3f}", layer.forward_ms),
         fmt::format("{:.3f}", layer.backward_ms), TextOfScale(layer.output.rms, "{:.3g}"),
         TextOfScale(layer.output.zeros < 0.0 ? -1.0 : 100.0 * layer.output.zeros, "{:.1f} %"),
         TextOfScale(layer.input_gradient.rms, "{:.2e}"), TextOfScale(layer.weights.rms, "{:.3g}"),
         TextOfScale(layer.weight_gradient.rms, "{:.2e}")});
  }
  scale.categories = time.categories;
  page.Plot(time);
  page.Plot(scale);
  page.Table("Layer by layer: times in ms, scales as root mean squares",
             {"layer", "kind", "forward", "backward", "output", "zeros", "input gradient",
              "weights", "weight gradient"},
             rows);
}

const Subset& SplitNamed(const RunReport& run, const std::string& split) {
  return split == "test"         ? run.data.test
         : split == "validation" ? run.data.validation
                                 : run.data.train;
}

}  // namespace

const char* StatusName(StopReason reason) {
  switch (reason) {
    case StopReason::kCompleted:
      return "completed";
    case StopReason::kEarlyStopped:
      return "stopped early";
    case StopReason::kRequested:
      return "interrupted";
  }
  return "?";
}

Status WriteRunReport(const RunReport& run) {
  const std::string name =
      std::filesystem::absolute(run.folder.path).lexically_normal().filename().string();
  const auto count = [](const Subset& samples) {
    return Grouped(static_cast<int64_t>(samples.indices.size()));
  };
  Page page(name,
            fmt::format("{} on {}: {} samples to train, {} to validate, {} to test.",
                        lockstep::TitleOf(run.recipe.model.family), DataName(run.recipe),
                        count(run.data.train), count(run.data.validation), count(run.data.test)));
  AddResults(run, page);
  LOCKSTEP_TRY(AddCurves(run, page));
  const std::string split = run.results.empty() ? "" : run.results.back().first;
  const Subset shown = split.empty() ? Subset() : SplitNamed(run, split);
  if (!run.results.empty()) {
    AddPredictions(split, run.results.back().second, run.assessment, shown.dataset->info(), page);
  }
  LOCKSTEP_TRY(AddPictures(run, split, shown, page));
  LOCKSTEP_TRY(AddTexts(run, split, shown, page));
  AddLayers(run, page);
  page.Heading("How to repeat it");
  page.Table(
      "The same bits", {},
      {{"command", fmt::format("lockstep train {} output.folder=NEW_FOLDER", run.folder.recipe())},
       {"must give", fmt::format("parameter hash {}", HexOf(ModelHash(run.network)))},
       {"seed", std::to_string(run.recipe.train.seed)},
       {"shards", std::to_string(run.recipe.train.shards)},
       {"may differ", "the number of threads, and the machine if it has fused multiply-add"}});
  page.Table("Machine", {}, MachineFacts(run.network.context().threads()));
  page.Listing("The recipe as run: recipe.toml", PrintRecipe(run.recipe));
  return WriteFileAtomically(run.folder.report(), page.Html());
}

}  // namespace lockstep::tools
