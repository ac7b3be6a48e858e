// The lines of a convolution's result, in the cells in which a pass finishes them: those of
// ConvArgs::row_grid or, where there is none, so many lines of one picture each as the pass likes.
#ifndef LOCKSTEP_ENGINE_OPS_CONV_CELLS_H_
#define LOCKSTEP_ENGINE_OPS_CONV_CELLS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "engine/base/check.h"
#include "engine/base/integers.h"
#include "engine/ops/conv.h"
#include "engine/parallel/shards.h"

namespace lockstep::inline v0_1::ops {

class ConvCells {
 public:
  // Of `pictures` of height x width pixels. Borrows args.
  ConvCells(const ConvArgs& args, int64_t pictures, int64_t height, int64_t width,
            int64_t lines_of_cell = 1)
      : args_(args),
        height_(height),
        width_(width),
        lines_of_cell_(lines_of_cell),
        of_picture_(CeilDiv(height, lines_of_cell)) {
    count_ = gridded() ? static_cast<int64_t>(args.row_grid.size()) - 1 : pictures * of_picture_;
    if (gridded()) LOCKSTEP_CHECK_EQ(args.row_grid.back(), pictures * height * width);
  }

  int64_t count() const { return count_; }
  // Of the batch; cell count() begins where the batch ends.
  int64_t FirstLine(int64_t cell) const {
    if (gridded()) return args_.row_grid[static_cast<size_t>(cell)] / width_;
    return cell / of_picture_ * height_ + cell % of_picture_ * lines_of_cell_;
  }
  IndexRange Lines(IndexRange cells) const {
    return {FirstLine(cells.begin), FirstLine(cells.end)};
  }
  // Says that these cells have their last values in these channels, if somebody wants to know.
  void Finish(IndexRange cells, IndexRange channels) const {
    if (!args_.finished) return;
    for (int64_t cell = cells.begin; cell < cells.end; ++cell) {
      (*args_.finished)(FirstLine(cell) * width_, FirstLine(cell + 1) * width_, channels.begin,
                        channels.end);
    }
  }

 private:
  bool gridded() const { return args_.row_grid.size() > 1; }

  const ConvArgs& args_;
  int64_t height_, width_, lines_of_cell_, of_picture_, count_;
};

// How a pass is spread: tasks of whole cells and, where these are fewer than threads, of ranges of
// channels. Each thread has several, which take different times.
class ConvTasks {
 public:
  static constexpr int64_t kPerThread = 4;

  // The cells hold `floats`, of what is read or written, whichever is more; a task is to hold at
  // most about `task_floats`. `splits`: channels may be split, at multiples of `unit`.
  ConvTasks(const ConvCells& cells, int64_t channels, int64_t threads, int64_t floats,
            int64_t task_floats, bool splits, int64_t unit)
      : cells_(cells.count()), channels_(channels), width_(channels) {
    if (cells_ == 0 || channels == 0) return;
    row_blocks_ = std::max(CeilDiv(floats, task_floats), threads == 1 ? 1 : kPerThread * threads);
    row_blocks_ = std::min(row_blocks_, cells_);
    if (splits && row_blocks_ < threads) {
      const int64_t wanted =
          std::min(CeilDiv(kPerThread * threads, row_blocks_), CeilDiv(channels, unit));
      width_ = RoundUp(CeilDiv(channels, wanted), unit);
      column_blocks_ = CeilDiv(channels, width_);
    }
  }

  int64_t count() const { return row_blocks_ * column_blocks_; }
  IndexRange Cells(int64_t task) const {
    const int64_t block = task % row_blocks_;
    return {cells_ * block / row_blocks_, cells_ * (block + 1) / row_blocks_};
  }
  IndexRange Channels(int64_t task) const {
    const int64_t begin = task / row_blocks_ * width_;
    return {begin, std::min(begin + width_, channels_)};
  }

 private:
  int64_t cells_, channels_;
  int64_t row_blocks_ = 0, column_blocks_ = 1;
  int64_t width_;  // channels of a column block
};

}  // namespace lockstep::ops

#endif  // LOCKSTEP_ENGINE_OPS_CONV_CELLS_H_
