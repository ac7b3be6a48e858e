#include "engine/plan/arena.h"

#include <algorithm>
#include <cstddef>

#include "engine/base/check.h"
#include "engine/base/integers.h"

namespace lockstep::inline v0_1 {
namespace {

int64_t Rounded(int64_t bytes) {
  LOCKSTEP_CHECK_GE(bytes, int64_t{0});
  return std::max(ArenaPlan::kAlignment, RoundUp(bytes, ArenaPlan::kAlignment));
}

}  // namespace

int ArenaPlan::Book(int64_t bytes, int first, int last) {
  LOCKSTEP_CHECK_LE(first, last);
  bookings_.push_back({.bytes = Rounded(bytes), .life = {first, last}});
  return static_cast<int>(bookings_.size()) - 1;
}

void ArenaPlan::BookAgain(int buffer, int first, int last) {
  Booking& booking = bookings_[static_cast<size_t>(buffer)];
  LOCKSTEP_CHECK_LE(first, last);
  LOCKSTEP_CHECK_LT(booking.life.last, first);
  booking.again = {first, last};
}

int ArenaPlan::BookScratch(int64_t bytes, int64_t offset) {
  bookings_.push_back({.kind = Kind::kScratch, .bytes = Rounded(bytes), .offset = offset});
  return static_cast<int>(bookings_.size()) - 1;
}

int ArenaPlan::BookForever(int64_t bytes) {
  bookings_.push_back({.kind = Kind::kForever, .bytes = Rounded(bytes)});
  return static_cast<int>(bookings_.size()) - 1;
}

int ArenaPlan::BookDerived(int64_t bytes) {
  bookings_.push_back({.kind = Kind::kDerived, .bytes = Rounded(bytes)});
  return static_cast<int>(bookings_.size()) - 1;
}

// First fit by falling size: each buffer goes to the lowest place that is free of every buffer it
// lives together with. (Pisarchyk, Lee, "Efficient memory management for deep neural net
// inference", 2020, "greedy by size".)
ArenaPlan::Layout ArenaPlan::LayOut(bool share) const {
  Layout layout;
  layout.offsets.resize(bookings_.size());
  std::vector<size_t> order;
  int64_t scratch_bytes = 0;
  for (size_t i = 0; i < bookings_.size(); ++i) {
    const Booking& booking = bookings_[i];
    layout.unshared_bytes += booking.bytes;
    if (booking.kind == Kind::kForever) {
      layout.offsets[i] = layout.kept_bytes;
      layout.kept_bytes += booking.bytes;
    } else if (booking.kind == Kind::kDerived) {
      layout.offsets[i] = layout.derived_bytes;
      layout.derived_bytes += booking.bytes;
    } else if (booking.kind == Kind::kScratch && share) {
      scratch_bytes = std::max(scratch_bytes, booking.offset + booking.bytes);
    } else {
      order.push_back(i);
    }
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return bookings_[a].bytes > bookings_[b].bytes; });
  std::vector<size_t> placed;  // by rising offset
  for (const size_t i : order) {
    const Booking& booking = bookings_[i];
    int64_t offset = scratch_bytes;
    for (const size_t j : placed) {
      const Booking& other = bookings_[j];
      if (share && !booking.Meets(other)) continue;
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
  layout.bytes = std::max(layout.bytes, scratch_bytes);
  for (size_t i = 0; i < bookings_.size(); ++i) {
    if (bookings_[i].kind == Kind::kScratch && share) layout.offsets[i] = bookings_[i].offset;
  }
  return layout;
}

}  // namespace lockstep
