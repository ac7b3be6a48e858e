#include "engine/plan/planner.h"

#include <algorithm>
#include <numeric>

#include "engine/base/check.h"

namespace lockstep {
namespace {

constexpr int64_t kAlignment = 64;           // bytes: a cache line, and the widest vector
constexpr int64_t kParameterAlignment = 16;  // floats

int64_t RoundUp(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

}  // namespace

Planner::Scope::Scope(Planner& plan, const std::string& name, const std::string& kind,
                      const Shape& in)
    : plan_(plan),
      report_(plan.report_.size()),
      outer_path_(plan.path_),
      outer_scratch_(plan.scratch_),
      parameters_before_(0),
      begin_(++plan.tick_) {
  plan.path_ = plan.FullName(name);
  if (name.empty()) plan.path_ = outer_path_;
  for (const ParameterInfo& p : plan.parameters_) parameters_before_ += p.shape.size();
  plan.report_.push_back({.path = plan.path_, .kind = kind, .depth = plan.depth_++, .in = in});
  plan.open_reports_.push_back(report_);
  plan.open_ticks_.push_back(begin_);
}

void Planner::Scope::Close(const Shape& out, double flops) {
  if (end_ >= 0) return;
  end_ = ++plan_.tick_;
  LayerReport& row = plan_.report_[report_];
  row.out = out;
  row.flops = flops;
  row.parameters = -parameters_before_;
  for (const ParameterInfo& p : plan_.parameters_) row.parameters += p.shape.size();
  plan_.path_ = outer_path_;
  plan_.scratch_ = outer_scratch_;
  --plan_.depth_;
  plan_.previous_begin_ = begin_;
  plan_.open_reports_.pop_back();
  plan_.open_ticks_.pop_back();
}

Parameter Planner::AddParameter(const std::string& name, const Shape& shape, Init init,
                                Decay decay) {
  parameters_.push_back({FullName(name), shape, init, decay, parameter_floats_});
  parameter_floats_ += RoundUp(shape.size(), kParameterAlignment);
  return {static_cast<int>(parameters_.size()) - 1};
}

State Planner::AddState(const std::string& name, const Shape& shape, float initial) {
  states_.push_back({FullName(name), shape, initial, state_floats_});
  state_floats_ += RoundUp(shape.size(), kParameterAlignment);
  return {static_cast<int>(states_.size()) - 1};
}

void Planner::Note(const std::string& text) {
  LOCKSTEP_CHECK(!open_reports_.empty(), text);
  report_[open_reports_.back()].notes.push_back(text);
}

int Planner::BookBytes(int64_t bytes, Life life) {
  LOCKSTEP_CHECK(!open_ticks_.empty(), "memory is booked while a layer binds");
  const int tick = open_ticks_.back();
  const int id = BookBytesBetween(bytes, {tick, false}, {tick, true});
  Booking& booking = bookings_.back();
  booking.forever = life == Life::kBound;
  if (life == Life::kCall && options_.share) {
    booking.scratch = true;
    booking.scratch_offset = scratch_;
    scratch_ += booking.bytes;
    scratch_peak_ = std::max(scratch_peak_, scratch_);
  }
  return id;
}

int Planner::BookBytesBetween(int64_t bytes, Moment from, Moment to) {
  LOCKSTEP_CHECK_GE(bytes, int64_t{0});
  const int64_t rounded = std::max(kAlignment, RoundUp(bytes, kAlignment));
  bookings_.push_back({.bytes = rounded, .from = from, .to = to});
  if (!open_reports_.empty()) report_[open_reports_.back()].bytes += rounded;
  return static_cast<int>(bookings_.size()) - 1;
}

// First fit by falling size: each buffer goes to the lowest place that is free of every buffer it
// lives together with. (Pisarchyk, Lee, "Efficient memory management for deep neural net
// inference", 2020, "greedy by size".)
Planner::Layout Planner::LayOut() const {
  Layout layout;
  layout.offsets.resize(bookings_.size());
  const int last = tick_ + 1;
  const auto time = [&](Moment m) { return m.backward ? 2 * last - m.tick : m.tick; };

  std::vector<size_t> order;
  for (size_t i = 0; i < bookings_.size(); ++i) {
    if (!bookings_[i].scratch) {
      order.push_back(i);
      layout.unshared_bytes += bookings_[i].bytes;
    }
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return bookings_[a].bytes > bookings_[b].bytes; });
  std::vector<size_t> placed;  // by rising offset
  for (const size_t i : order) {
    const Booking& booking = bookings_[i];
    int64_t offset = 0;
    for (const size_t j : placed) {
      const Booking& other = bookings_[j];
      const bool together =
          !options_.share || booking.forever || other.forever ||
          (time(booking.from) <= time(other.to) && time(other.from) <= time(booking.to));
      if (!together) continue;
      if (layout.offsets[j] >= offset + booking.bytes) break;
      offset = std::max(offset, layout.offsets[j] + other.bytes);
    }
    layout.offsets[i] = offset;
    placed.insert(
        std::upper_bound(placed.begin(), placed.end(), i,
                         [&](size_t a, size_t b) { return layout.offsets[a] < layout.offsets[b]; }),
        i);
    layout.bytes = std::max(layout.bytes, offset + booking.bytes);
  }
  for (size_t i = 0; i < bookings_.size(); ++i) {
    if (bookings_[i].scratch) layout.offsets[i] = layout.bytes + bookings_[i].scratch_offset;
  }
  layout.bytes += scratch_peak_;
  layout.unshared_bytes += scratch_peak_;
  return layout;
}

}  // namespace lockstep
