#include "engine/kernels/picture/axis_taps.h"

#include <algorithm>
#include <cmath>

#include "engine/base/check.h"
#include "engine/base/integers.h"

namespace lockstep::inline v0_1::kernels {
namespace {

// Ends the list of one output.
void EndOutput(AxisTaps& taps) { taps.first.push_back(static_cast<int64_t>(taps.from.size())); }

}  // namespace

bool AxisTaps::IsIdentity() const {
  if (inputs != outputs() || inputs != taps()) return false;
  for (size_t i = 0; i < from.size(); ++i) {
    const auto at = static_cast<int64_t>(i);
    if (from[i] != at || first[i] != at || DivisorOf(at) != 1.0f) return false;
    if (!weight.empty() && weight[i] != 1.0f) return false;
  }
  return true;
}

int64_t WindowOutputs(int64_t inputs, const SlidingWindow& window) {
  const int64_t room = inputs + 2 * window.padding - window.dilation * (window.kernel - 1) - 1 +
                       (window.ceil_mode ? window.stride - 1 : 0);
  if (room < 0) return 0;
  int64_t outputs = room / window.stride + 1;
  if (window.ceil_mode && (outputs - 1) * window.stride >= inputs + window.padding) --outputs;
  return outputs;
}

AxisTaps MaxTaps(int64_t inputs, const SlidingWindow& window) {
  AxisTaps taps{.inputs = inputs};
  const int64_t outputs = WindowOutputs(inputs, window);
  for (int64_t i = 0; i < outputs; ++i) {
    const int64_t begin = i * window.stride - window.padding;
    int64_t k = begin < 0 ? CeilDiv(-begin, window.dilation) : 0;
    for (; k < window.kernel && begin + k * window.dilation < inputs; ++k) {
      taps.from.push_back(begin + k * window.dilation);
      taps.number.push_back(static_cast<int32_t>(k));
    }
    EndOutput(taps);
  }
  return taps;
}

AxisTaps AverageTaps(int64_t inputs, const SlidingWindow& window, bool count_padding,
                     std::optional<float> divisor) {
  AxisTaps taps = MaxTaps(inputs, window);
  taps.number.clear();
  for (int64_t i = 0; i < taps.outputs(); ++i) {
    const auto at = static_cast<size_t>(i);
    const int64_t begin = i * window.stride - window.padding;
    const int64_t end = std::min(begin + window.kernel, inputs + window.padding);
    const int64_t count = count_padding ? end - begin : taps.first[at + 1] - taps.first[at];
    taps.divisor.push_back(divisor.value_or(static_cast<float>(count)));
  }
  return taps;
}

AxisTaps AdaptiveAverageTaps(int64_t inputs, int64_t outputs) {
  AxisTaps taps{.inputs = inputs};
  for (int64_t i = 0; i < outputs; ++i) {
    const int64_t begin = i * inputs / outputs, end = CeilDiv((i + 1) * inputs, outputs);
    for (int64_t from = begin; from < end; ++from) taps.from.push_back(from);
    taps.divisor.push_back(static_cast<float>(end - begin));
    EndOutput(taps);
  }
  return taps;
}

AxisTaps NearestTaps(int64_t inputs, int64_t outputs, std::optional<double> scale) {
  AxisTaps taps{.inputs = inputs};
  const float step = scale ? static_cast<float>(1.0 / *scale)
                           : static_cast<float>(inputs) / static_cast<float>(outputs);
  for (int64_t i = 0; i < outputs; ++i) {
    int64_t from = i;
    if (outputs == 2 * inputs) {
      from = i / 2;
    } else if (outputs != inputs) {
      from = static_cast<int64_t>(std::floor(static_cast<float>(i) * step));
    }
    taps.from.push_back(std::min(from, inputs - 1));
    EndOutput(taps);
  }
  return taps;
}

AxisTaps LinearTaps(int64_t inputs, int64_t outputs, std::optional<double> scale,
                    bool align_corners) {
  AxisTaps taps{.inputs = inputs};
  const auto in = static_cast<double>(inputs), out = static_cast<double>(outputs);
  const double step = align_corners ? (outputs > 1 ? (in - 1.0) / (out - 1.0) : 0.0)
                      : scale       ? 1.0 / *scale
                                    : in / out;
  for (int64_t i = 0; i < outputs; ++i) {
    const auto at = static_cast<double>(i);
    double source = align_corners ? step * at : std::max(0.0, step * (at + 0.5) - 0.5);
    if (outputs == inputs) source = at;
    // What falls on a pixel but for rounding reads it alone: a weight near 0 would make NaN, or an
    // infinity, of a neighbour's.
    if (std::abs(source - std::round(source)) < 1e-9) source = std::round(source);
    const int64_t low = std::min(static_cast<int64_t>(source), inputs - 1);
    const double part = source - static_cast<double>(low);
    const bool alone = !(part > 0.0) || low + 1 == inputs;
    taps.from.push_back(low);
    taps.weight.push_back(alone ? 1.0f : static_cast<float>(1.0 - part));
    if (!alone) {
      taps.from.push_back(low + 1);
      taps.weight.push_back(static_cast<float>(part));
    }
    EndOutput(taps);
  }
  return taps;
}

AxisTaps BorderTaps(int64_t inputs, int64_t before, int64_t after, Border border) {
  AxisTaps taps{.inputs = inputs};
  for (int64_t i = 0; i < inputs + before + after; ++i) {
    int64_t from = i - before;
    if (border == Border::kReplicate) from = std::clamp<int64_t>(from, 0, inputs - 1);
    if (border == Border::kReflect && from < 0) from = -from;
    if (border == Border::kReflect && from >= inputs) from = 2 * (inputs - 1) - from;
    if (from >= 0 && from < inputs) taps.from.push_back(from);
    EndOutput(taps);
  }
  return taps;
}

AxisTaps Turned(const AxisTaps& taps) {
  const size_t all = taps.from.size();
  AxisTaps turned{.inputs = taps.outputs()};
  turned.first.assign(static_cast<size_t>(taps.inputs) + 1, 0);
  for (const int64_t from : taps.from) ++turned.first[static_cast<size_t>(from) + 1];
  for (size_t i = 1; i < turned.first.size(); ++i) turned.first[i] += turned.first[i - 1];
  turned.from.resize(all);
  if (!taps.weight.empty() || !taps.divisor.empty()) turned.weight.resize(all);
  if (!taps.number.empty()) turned.number.resize(all);
  std::vector<int64_t> next = turned.first;
  for (int64_t i = 0; i < taps.outputs(); ++i) {
    const auto output = static_cast<size_t>(i);
    for (int64_t t = taps.first[output]; t < taps.first[output + 1]; ++t) {
      const auto tap = static_cast<size_t>(t);
      const auto at = static_cast<size_t>(next[static_cast<size_t>(taps.from[tap])]++);
      turned.from[at] = i;
      if (!turned.weight.empty())
        turned.weight[at] = (taps.weight.empty() ? 1.0f : taps.weight[tap]) / taps.DivisorOf(i);
      if (!turned.number.empty()) turned.number[at] = taps.number[tap];
    }
  }
  return turned;
}

}  // namespace lockstep::kernels
