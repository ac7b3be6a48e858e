#include "engine/optim/clip.h"

#include <algorithm>
#include <cmath>

#include "engine/base/check.h"
#include "engine/kernels/optimizer/optimizer_update.h"
#include "engine/optim/finite.h"
#include "engine/optim/flat_blocks.h"
#include "engine/parallel/shards.h"

namespace lockstep {

GradientNorm::GradientNorm(const ParameterSet& parameters)
    : sums_(static_cast<size_t>(FlatBlocks(static_cast<int64_t>(parameters.gradients.size())))) {}

Result<double> GradientNorm::Measure(Context& ctx, const ParameterSet& parameters) {
  const auto floats = static_cast<int64_t>(parameters.gradients.size());
  LOCKSTEP_CHECK_EQ(static_cast<int64_t>(sums_.size()), FlatBlocks(floats));
  if (floats == 0) return 0.0;
  ForFlatBlocks(ctx, floats, 1, [&](int64_t block, int64_t begin, int64_t end) {
    sums_[static_cast<size_t>(block)] =
        kernels::SumOfSquares(parameters.gradients.data() + begin, end - begin);
  });
  MergeTree(0, static_cast<int64_t>(sums_.size()), [&](int64_t into, int64_t from) {
    sums_[static_cast<size_t>(into)] += sums_[static_cast<size_t>(from)];
  });
  if (std::isfinite(sums_[0])) return std::sqrt(sums_[0]);
  const Status status = CheckGradientsFinite(parameters);
  LOCKSTEP_CHECK(!status.ok(), "the padding between gradients must be zero");
  return status;
}

double ClipFactor(double norm, double max_norm) {
  LOCKSTEP_CHECK(max_norm > 0.0, "max_norm must be positive");
  return std::min(1.0, max_norm / (norm + 1e-6));
}

}  // namespace lockstep
