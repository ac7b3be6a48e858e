// How queries and keys of an attention are cut: into pieces of one text each.
#ifndef LOCKSTEP_ENGINE_KERNELS_ATTENTION_ATTENTION_TILES_H_
#define LOCKSTEP_ENGINE_KERNELS_ATTENTION_ATTENTION_TILES_H_

#include <algorithm>
#include <cstdint>

namespace lockstep::inline v0_1::kernels {

// Keys in a tile: a sum over keys is a chain of multiply-adds over each tile, begun at zero, and
// these are added up in order. And queries in a panel of backward, where sums over queries are made
// in the same way.
inline constexpr int64_t kKeyTile = 128;
inline constexpr int64_t kQueryPanel = 128;
// From one row of a tile of backward to the next: no power of two, so that rows do not want the
// same lines of the L1 cache.
inline constexpr int64_t kLaneStride = kQueryPanel + 16;

// The pieces of rows [begin, end), at most `most` rows each: none crosses from one text into the
// next, and rows of padding are in none.
class TextPieces {
 public:
  TextPieces(const int32_t* segments, int64_t begin, int64_t end, int64_t most)
      : segments_(segments), next_(begin), end_(end), most_(most) {}

  bool Next() {
    begin_ = next_;
    if (segments_ == nullptr) {
      next_ = std::min(end_, begin_ + most_);
      return begin_ < next_;
    }
    while (begin_ < end_ && segments_[begin_] < 0) ++begin_;
    if (begin_ >= end_) return false;
    text_ = segments_[begin_];
    const int64_t stop = std::min(end_, begin_ + most_);
    next_ = begin_ + 1;
    while (next_ < stop && segments_[next_] == text_) ++next_;
    return true;
  }
  int64_t begin() const { return begin_; }
  int64_t size() const { return next_ - begin_; }
  int32_t text() const { return text_; }  // 0 where all is one text

 private:
  const int32_t* segments_;
  int64_t begin_ = 0, next_, end_, most_;
  int32_t text_ = 0;
};

// Rows of a tile (keys from `key` on) against lanes of a panel (queries from `query` on): lane l
// sees row r if r <= reach + l.
struct AttentionTile {
  int64_t query, lanes;
  int64_t key, rows;
  int64_t reach;

  // Of the lanes [first, first + count): rows that none of them sees begin here ...
  int64_t SeenRows(int64_t first, int64_t count) const {
    return std::clamp<int64_t>(reach + std::min(first + count, lanes), 0, rows);
  }
  // ... and rows that not all of them see, here.
  int64_t WholeRows(int64_t first) const { return std::clamp<int64_t>(reach + first + 1, 0, rows); }
  bool any() const { return SeenRows(0, lanes) > 0; }
  // The first lane that sees row r.
  int64_t FirstLane(int64_t r) const { return std::max<int64_t>(0, r - reach); }
};

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_ATTENTION_ATTENTION_TILES_H_
