#include "tools/scale/predict.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "engine/base/integers.h"
#include "engine/io/file.h"

namespace lockstep::inline v0_1::scale {

Result<NetworkCost> ParseNetwork(const std::string& text) {
  const char* const end = text.data() + text.size();
  double latency = 0.0, rate = 0.0;
  const auto first = std::from_chars(text.data(), end, latency);
  const bool comma = first.ec == std::errc() && first.ptr != end && *first.ptr == ',';
  const auto second = comma ? std::from_chars(first.ptr + 1, end, rate) : first;
  if (!comma || second.ec != std::errc() || second.ptr != end || !(latency >= 0.0) ||
      !std::isfinite(latency) || !(rate > 0.0) || !std::isfinite(rate)) {
    return Status::Invalid(
        "--network takes microseconds of latency and GB/s of bandwidth, as in 2,10; not " +
        Quoted(text));
  }
  return NetworkCost{
      .latency_seconds = latency * 1e-6, .bytes_per_second = rate * 1e9, .source = "given"};
}

// Each equation c + a n = t is divided by t, so that small batches count as much as large ones.
void FitBatches(std::span<const BatchTime> times, StepModel& model) {
  double s11 = 0.0, s1n = 0.0, snn = 0.0, s1 = 0.0, sn = 0.0;
  for (const BatchTime& time : times) {
    const double t = std::max(time.seconds - model.update_seconds, 1e-12);
    const double one = 1.0 / t, n = static_cast<double>(time.samples) / t;
    s11 += one * one, s1n += one * n, snn += n * n, s1 += one, sn += n;
  }
  const double determinant = s11 * snn - s1n * s1n;
  double constant = 0.0, slope = snn > 0.0 ? sn / snn : 0.0;
  if (times.size() > 1 && determinant > 1e-9 * s11 * snn) {
    constant = (s1 * snn - sn * s1n) / determinant;
    slope = (sn * s11 - s1 * s1n) / determinant;
    if (constant < 0.0) constant = 0.0, slope = sn / snn;
    if (slope < 0.0) slope = 0.0, constant = s1 / s11;
  }
  model.constant_seconds = constant;
  model.sample_seconds = slope;
}

PredictedPoint PredictPoint(const StepModel& model, const NetworkCost& network, int ranks,
                            int64_t batch) {
  const auto r = static_cast<double>(ranks);
  const auto samples = static_cast<double>(CeilDiv(batch, static_cast<int64_t>(ranks)));
  const double passes = model.constant_seconds + model.sample_seconds * samples;
  const double compute = passes + model.update_seconds / r;
  PredictedPoint point{.ranks = ranks, .batch = batch};
  if (ranks > 1) {
    constexpr double kCell = 256.0;
    const double messages =
        std::min(model.buckets * (r - 1.0), std::max(1.0, model.gradient_bytes / kCell));
    const double way = messages * network.latency_seconds +
                       model.gradient_bytes * (r - 1.0) / r / network.bytes_per_second;
    const double merge = model.gradient_bytes / model.memory_bytes_per_second;
    const double small = 2.0 * network.latency_seconds * std::ceil(std::log2(r));
    const double hidden = std::min(way, model.backward_share * passes);
    point.exchange_seconds = 2.0 * way - hidden + merge + small;
    point.unhidden_seconds = hidden;
  }
  point.seconds = compute + point.exchange_seconds;
  point.unhidden_seconds += point.seconds;
  return point;
}

Prediction Predict(const StepModel& model, const NetworkCost& network, int ranks, int64_t batch) {
  Prediction prediction{.model = model, .network = network};
  const double alone = PredictPoint(model, network, 1, batch).seconds;
  const auto add = [&](std::vector<PredictedPoint>& curve, int r, int64_t global) {
    PredictedPoint point = PredictPoint(model, network, r, global);
    const double work = static_cast<double>(global) / static_cast<double>(batch);
    point.speedup = work * alone / point.seconds;
    point.unhidden_speedup = work * alone / point.unhidden_seconds;
    curve.push_back(point);
  };
  for (int64_t r = 1; r <= ranks; r = r < ranks && 2 * r > ranks ? ranks : 2 * r) {
    if (r <= batch) add(prediction.strong, static_cast<int>(r), batch);
    add(prediction.weak, static_cast<int>(r), batch * r);
  }
  return prediction;
}

std::vector<std::string> PredictionFormula() {
  return {
      "T(R) = c + a n + u/R + max(0, E - B) + E + M + L",
      "n: samples of a rank; c + a n: forward and backward, measured over batches; u: the update",
      "E = m l + g (R - 1) / (R w): gradients to their owners, and parameters back; m = R - 1 "
      "messages for each bucket",
      "B: backward, behind which the way there hides; M = g / memory: adding up; L = 2 l ceil(log2 "
      "R)",
      "not in it: ranks of unequal speed, links shared with others, batch norms that talk",
  };
}

}  // namespace lockstep::scale
