// The metrics of a run as they arise: metrics.csv for spreadsheets, metrics.jsonl for programs.
#ifndef LOCKSTEP_ENGINE_IO_METRICS_LOG_H_
#define LOCKSTEP_ENGINE_IO_METRICS_LOG_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"

namespace lockstep::inline v0_1 {

struct MetricValue {
  std::string_view name;
  double value = 0.0;
};

// A row has the epoch, the step and one number per column. Both files are written row by row, so
// nothing is lost but a row being written when the process is killed. Movable; thread-compatible.
class MetricsLog {
 public:
  // Starts both files in `folder` afresh. `columns` come after "epoch" and "step" in the CSV.
  static Result<MetricsLog> Start(const std::string& folder, std::vector<std::string> columns);
  // Goes on with the files of an earlier run, which must have the same columns or, as a run of an
  // earlier version, only the first of them: the others are then empty in its rows. Drops rows of
  // steps after `step` and a last row that was not finished, so that no step appears twice. Missing
  // files are started. Log the row of a step before saving the checkpoint of that step.
  static Result<MetricsLog> Resume(const std::string& folder, std::vector<std::string> columns,
                                   int64_t step);
  MetricsLog(MetricsLog&& other) noexcept;
  MetricsLog& operator=(MetricsLog&&) = delete;
  ~MetricsLog();

  // Each name must be a column; columns without a value stay empty. Numbers are printed with as few
  // digits as read back to the same double; NaN and infinities as nan, inf, -inf, in JSON as null.
  Status Append(int64_t epoch, int64_t step, std::span<const MetricValue> values);

 private:
  MetricsLog(std::string folder, std::vector<std::string> columns);

  std::string csv_path_, jsonl_path_;
  std::vector<std::string> columns_;
  int csv_ = -1;
  int jsonl_ = -1;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_IO_METRICS_LOG_H_
