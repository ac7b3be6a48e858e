// How passes over a (R, C) matrix are cut into tasks. None of these choices reaches a result: sums
// are cut by the RowGrid, and everything else is element by element.
#ifndef LOCKSTEP_ENGINE_OPS_ROW_TASKS_H_
#define LOCKSTEP_ENGINE_OPS_ROW_TASKS_H_

#include <algorithm>
#include <cstdint>

#include "engine/parallel/shards.h"

namespace lockstep::inline v0_1::ops {

// Elements that make a task worth handing to another thread: about a microsecond.
inline constexpr int64_t kTaskElements = 8192;

// Part `part` of `parts` of [0, n), at multiples of `unit`.
constexpr IndexRange Part(int64_t n, int64_t parts, int64_t part, int64_t unit) {
  const int64_t units = (n + unit - 1) / unit;
  return {std::min(n, units * part / parts * unit), std::min(n, units * (part + 1) / parts * unit)};
}

// Tasks of whole blocks of a grid; where there are fewer blocks than would keep the threads busy,
// of ranges of their columns.
class BlockTasks {
 public:
  BlockTasks(const RowGrid& grid, int64_t channels, int threads)
      : blocks_(grid.blocks()), channels_(channels) {
    const int64_t wanted = std::max<int64_t>(1, grid.rows() * channels / kTaskElements);
    groups_ = std::min(blocks_, wanted);
    if (groups_ == 0 || threads == 1) return;
    const int64_t wanted_columns = std::min<int64_t>(wanted, 2 * threads) / groups_;
    column_parts_ = std::clamp<int64_t>(wanted_columns, 1, std::max<int64_t>(1, channels / 64));
  }

  int64_t count() const { return groups_ * column_parts_; }
  IndexRange Blocks(int64_t task) const {
    return Part(blocks_, groups_, task / column_parts_, /*unit=*/1);
  }
  IndexRange Columns(int64_t task) const {
    return Part(channels_, column_parts_, task % column_parts_, /*unit=*/16);
  }

 private:
  int64_t blocks_;
  int64_t channels_;
  int64_t groups_ = 0;
  int64_t column_parts_ = 1;
};

// Tasks of rows. Each thread meets the rows that BlockTasks gave it, so that they are still in its
// own cache; where the matrix is larger than any cache it meets them in reverse, the end that it
// read last first.
class RowTasks {
 public:
  RowTasks(int64_t rows, int64_t channels, int threads)
      : rows_(rows),
        threads_(threads),
        count_(std::min((rows + kUnit - 1) / kUnit, Wanted(rows, channels, threads))) {}

  int64_t count() const { return count_; }
  IndexRange Rows(int64_t task, bool reverse) const {
    if (reverse) {  // within the thread's own tasks, as Context deals them
      const int64_t thread = ((task + 1) * threads_ - 1) / count_;
      const int64_t begin = count_ * thread / threads_;
      const int64_t end = count_ * (thread + 1) / threads_;
      task = begin + end - 1 - task;
    }
    return Part(rows_, count_, task, kUnit);
  }

 private:
  static constexpr int64_t kUnit = 4;
  // A task of fewer rows spends its time on preparing the constants of its channels.
  static constexpr int64_t kRows = 64;

  static int64_t Wanted(int64_t rows, int64_t channels, int64_t threads) {
    const int64_t most = std::max(rows / kRows, 2 * threads);
    return std::max<int64_t>(1, std::min(rows * channels / kTaskElements, most));
  }

  int64_t rows_;
  int64_t threads_;
  int64_t count_;
};

}  // namespace lockstep::ops

#endif  // LOCKSTEP_ENGINE_OPS_ROW_TASKS_H_
