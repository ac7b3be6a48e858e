#include "engine/train/summary.h"

#include <utility>

#include "engine/base/columns.h"

namespace lockstep::inline v0_1 {
namespace {

int64_t FrozenWithin(const Network& network, const std::string& path) {
  int64_t frozen = 0;
  for (const ParameterInfo& info : network.parameters().infos) {
    const bool within = path.empty() || info.name.starts_with(path + ".");
    if (within && info.frozen) frozen += info.shape.size();
  }
  return frozen;
}

std::string CountOf(int64_t count, const char* what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

}  // namespace

std::vector<LayerSummary> LayersOf(const Network& network) {
  const std::vector<LayerReport>& report = network.program().graph().report();
  std::vector<LayerSummary> layers;
  for (size_t i = 0; i < report.size(); ++i) {
    const LayerReport& of = report[i];
    // The model around the layers, of which the next row says more.
    if (i == 0 && report.size() > 1 && report[1].path.empty() && report[1].out.rank() > 0) continue;
    // Only what a network is as a whole, and losses, have no path.
    const bool is_loss = of.path.empty() && i > 0 && of.out.rank() == 0;
    LayerSummary layer{.name = is_loss           ? "loss"
                               : of.path.empty() ? "all"
                                                 : of.path,
                       .kind = of.kind,
                       .depth = of.depth,
                       .in = of.in,
                       .out = of.out,
                       .parameters = of.parameters,
                       .flops = of.flops,
                       .bytes = of.bytes};
    if (layer.name == "all" && layer.out.rank() == 0) layer.out = network.output_shape();
    for (const std::string& note : of.notes)
      layer.notes += (layer.notes.empty() ? "" : "; ") + note;
    for (size_t in = i + 1; in < report.size() && (i == 0 || report[in].depth > of.depth); ++in)
      layer.bytes += report[in].bytes;
    if (!is_loss) layer.frozen = FrozenWithin(network, of.path);
    layers.push_back(std::move(layer));
  }
  return layers;
}

// The first row holds all.
double FlopsOf(const Network& network) { return network.program().graph().report()[0].flops; }

std::string Summary(const Network& network) {
  const std::vector<LayerSummary> layers = LayersOf(network);
  std::vector<std::vector<std::string>> rows = {
      {"layer", "kind", "out", "parameters", "multiply-adds", "memory", ""}};
  for (const LayerSummary& layer : layers) {
    std::string notes = layer.notes;
    if (layer.frozen > 0) {
      const bool all = layer.frozen == layer.parameters;
      notes = (all ? "frozen" : std::to_string(layer.frozen) + " frozen") +
              (notes.empty() ? "" : "; " + notes);
    }
    rows.push_back({layer.name, layer.kind, layer.out.rank() == 0 ? "" : layer.out.ToString(),
                    std::to_string(layer.parameters), AmountText(layer.flops / 2.0, "MAC"),
                    BytesText(static_cast<double>(layer.bytes)), notes});
  }
  std::string text = InColumns(rows, /*right=*/3);
  const int64_t parameters = network.parameter_count(), frozen = FrozenWithin(network, "");
  text += CountOf(parameters, "parameter") +
          (frozen == 0 ? ", all of which learn: "
                       : ", " + std::to_string(parameters - frozen) + " learn, " +
                             std::to_string(frozen) + " are frozen: ") +
          BytesText(static_cast<double>(network.store().parameter_bytes())) + "\n";
  if (!network.states().empty())
    text += CountOf(network.states().size(), "state") + " that are remembered, and do not learn\n";
  text += AmountText(FlopsOf(network) / 2.0, "MAC") + " in a forward pass of " +
          CountOf(network.batch(), "sample") + "\n";
  text += BytesText(static_cast<double>(network.bytes())) + " in all, activations and scratch " +
          BytesText(static_cast<double>(network.arena_bytes())) + "; an optimizer comes on top\n";
  return text;
}

}  // namespace lockstep
