#include "engine/optim/clip.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "engine/base/check.h"
#include "engine/base/integers.h"
#include "engine/kernels/optimizer/optimizer_update.h"
#include "engine/optim/finite.h"
#include "engine/optim/flat_blocks.h"

namespace lockstep::inline v0_1 {

// About a thousand cells, so that what ranks tell each other of them is little beside the gradients
// themselves, and that small networks have cells enough to be shared among ranks.
int64_t GradientNorm::CellOf(int64_t floats) {
  int64_t cell = 64;
  while (cell < kFlatBlock && CeilDiv(floats, cell) > 1024) cell *= 2;
  return cell;
}

GradientNorm::GradientNorm(const ParameterSet& parameters)
    : cell_(CellOf(std::ssize(parameters.gradients))),
      sums_(static_cast<size_t>(CeilDiv(std::ssize(parameters.gradients), cell_))) {}

Result<double> GradientNorm::Measure(Context& ctx, const ParameterSet& parameters) {
  const IndexRange all{0, std::ssize(parameters.gradients)};
  MeasureCells(ctx, parameters, std::span(&all, 1));
  const Result<double> norm = Finish(parameters);
  if (norm.ok()) return norm;
  const Status status = CheckGradientsFinite(parameters);  // which names the element
  LOCKSTEP_CHECK(!status.ok(), "the padding between gradients must be zero");
  return status;
}

void GradientNorm::MeasureCells(Context& ctx, const ParameterSet& parameters,
                                std::span<const IndexRange> floats) {
  LOCKSTEP_CHECK_EQ(std::ssize(sums_), CeilDiv(std::ssize(parameters.gradients), cell_));
  const float* gradients = parameters.gradients.data();
  for (const IndexRange& range : floats) {
    LOCKSTEP_CHECK_EQ(range.begin % cell_, int64_t{0});
    ForFlatBlocks(ctx, range.size(), 1, [&](int64_t, int64_t begin, int64_t end) {
      for (int64_t at = range.begin + begin; at < range.begin + end; at += cell_) {
        sums_[static_cast<size_t>(at / cell_)] =
            kernels::SumOfSquares(gradients + at, std::min(cell_, range.begin + end - at));
      }
    });
  }
}

Result<double> GradientNorm::Finish(const ParameterSet& parameters) {
  if (sums_.empty()) return 0.0;
  const auto bad =
      std::find_if(sums_.begin(), sums_.end(), [](double sum) { return !std::isfinite(sum); });
  if (bad == sums_.end()) {
    MergeTree(0, std::ssize(sums_), [&](int64_t into, int64_t from) {
      sums_[static_cast<size_t>(into)] += sums_[static_cast<size_t>(from)];
    });
    return std::sqrt(sums_[0]);
  }
  const int64_t begin = (bad - sums_.begin()) * cell_;
  std::string first, last;  // of those that have a part in the cell
  for (const ParameterInfo& info : parameters.infos) {
    if (info.offset + info.shape.size() <= begin || info.offset >= begin + cell_) continue;
    if (first.empty()) first = info.name;
    last = info.name;
  }
  return Status::NonFinite(
      (first == last ? "the gradient of " + first : "a gradient among " + first + " to " + last) +
      (std::isnan(*bad) ? " is nan" : " is infinite") +
      "; a smaller learning rate or clipping may help");
}

double ClipFactor(double norm, double max_norm) {
  LOCKSTEP_CHECK(max_norm > 0.0, "max_norm must be positive");
  return std::min(1.0, max_norm / (norm + 1e-6));
}

}  // namespace lockstep
