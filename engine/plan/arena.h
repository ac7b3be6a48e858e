// Where the buffers of a step lie: those whose lifetimes do not meet share memory.
#ifndef LOCKSTEP_ENGINE_PLAN_ARENA_H_
#define LOCKSTEP_ENGINE_PLAN_ARENA_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace lockstep::inline v0_1 {

// Books buffers for stretches of time, which is counted in whole numbers, and then lays them out.
class ArenaPlan {
 public:
  // Sizes and places are multiples of this many bytes: a cache line, and the widest vector.
  static constexpr int64_t kAlignment = 64;

  // A buffer that is in use from time `first` to time `last`, both included. Returns its number.
  int Book(int64_t bytes, int first, int last);
  // And once more, from `first` to `last`. What it held before is lost in between.
  void BookAgain(int buffer, int first, int last);
  // Scratch of whatever is running: one region, the first thing in it wherever it is used, which
  // therefore stays in cache. `offset`: where in it, for several at once.
  int BookScratch(int64_t bytes, int64_t offset);
  // What must stay as it is between steps.
  int BookForever(int64_t bytes);
  // Likewise, and is made of parameters alone: it may lie elsewhere, for several that read it.
  int BookDerived(int64_t bytes);

  struct Layout {
    std::vector<int64_t> offsets;  // in bytes, by number; those of kept buffers and those of
                                   // derived ones count by themselves
    int64_t bytes = 0;             // of all but these two
    int64_t kept_bytes = 0, derived_bytes = 0;
    int64_t unshared_bytes = 0;  // what all would take if nothing shared memory
  };
  // Without `share` every buffer has memory of its own: shows whether a lifetime is wrong.
  Layout LayOut(bool share) const;

  bool is_kept(int buffer) const {
    return bookings_[static_cast<size_t>(buffer)].kind == Kind::kForever;
  }
  bool is_derived(int buffer) const {
    return bookings_[static_cast<size_t>(buffer)].kind == Kind::kDerived;
  }
  int64_t bytes(int buffer) const { return bookings_[static_cast<size_t>(buffer)].bytes; }

 private:
  enum class Kind { kTimed, kScratch, kForever, kDerived };
  struct Stretch {
    int first = 0, last = -1;  // of none
    bool Meets(const Stretch& other) const { return first <= other.last && other.first <= last; }
  };
  struct Booking {
    Kind kind = Kind::kTimed;
    int64_t bytes = 0;
    Stretch life{}, again{};
    int64_t offset = 0;  // of scratch
    bool Meets(const Booking& other) const {
      return life.Meets(other.life) || life.Meets(other.again) || again.Meets(other.life) ||
             again.Meets(other.again);
    }
  };

  std::vector<Booking> bookings_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_PLAN_ARENA_H_
