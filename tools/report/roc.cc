#include "tools/report/roc.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <numeric>

#include "engine/base/check.h"
#include "engine/data/loader.h"

namespace lockstep::tools {

std::vector<RocPoint> Roc(std::span<const float> scores, std::span<const float> labels,
                          size_t most) {
  LOCKSTEP_CHECK_EQ(scores.size(), labels.size());
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  int64_t positives = 0;
  for (const float label : labels) positives += label > 0.5f;
  const int64_t negatives = static_cast<int64_t>(labels.size()) - positives;
  if (positives == 0 || negatives == 0) return {};

  struct Count {
    int64_t hits = 0, alarms = 0;
  };
  std::vector<Count> corners = {{}};
  Count now;
  for (size_t i = 0; i < order.size(); ++i) {
    (labels[order[i]] > 0.5f ? now.hits : now.alarms) += 1;
    if (i + 1 < order.size() && scores[order[i]] == scores[order[i + 1]]) continue;
    // On a straight line with the two before it, the middle one says nothing.
    if (corners.size() > 1) {
      const Count& a = corners[corners.size() - 2];
      const Count& b = corners.back();
      if ((b.hits - a.hits) * (now.alarms - b.alarms) ==
          (now.hits - b.hits) * (b.alarms - a.alarms)) {
        corners.pop_back();
      }
    }
    corners.push_back(now);
  }
  std::vector<RocPoint> points;
  const size_t size = std::min(corners.size(), std::max<size_t>(most, 2));
  for (size_t i = 0; i < size; ++i) {
    const Count& corner = corners[i * (corners.size() - 1) / (size - 1)];
    points.push_back({static_cast<double>(corner.alarms) / static_cast<double>(negatives),
                      static_cast<double>(corner.hits) / static_cast<double>(positives)});
  }
  return points;
}

Result<std::vector<RocPoint>> RocOf(Network& network, const Subset& samples) {
  if (network.output_shape().channels() != 1)
    return Status::Invalid("a network with several outputs has no single score");
  const auto size = static_cast<int64_t>(samples.indices.size());
  LOCKSTEP_TRY_ASSIGN(
      const std::unique_ptr<Loader> loader,
      Loader::Make(samples.dataset, samples.indices,
                   {.batch = std::min(size, network.input_shape().batch()), .shuffle = false}));
  std::vector<float> scores, labels;
  for (;;) {
    LOCKSTEP_TRY_ASSIGN(const Batch* batch, loader->Next());
    if (batch == nullptr) break;
    LOCKSTEP_TRY(network.Evaluate(BatchInputs(*batch, network).all()).status());
    const std::span<const float> y = network.output().span<float>();
    const std::span<const float> target = batch->target.span<float>();
    scores.insert(scores.end(), y.begin(), y.end());
    labels.insert(labels.end(), target.begin(), target.end());
  }
  return Roc(scores, labels);
}

}  // namespace lockstep::tools
