// Series of measurements: CSV files as in engine/data/table/csv.h, whose rows are moments one after
// the other.
#ifndef LOCKSTEP_ENGINE_DATA_SERIES_SERIES_H_
#define LOCKSTEP_ENGINE_DATA_SERIES_SERIES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/objective.h"
#include "engine/data/table/csv.h"

namespace lockstep {

struct SeriesOptions {
  char delimiter = ',';
  // kAuto: the first row is a header if a column is given by its name, or if none of its cells is a
  // number.
  CsvOptions::Header header = CsvOptions::Header::kAuto;
  // What is to be told: of kRegression a column of numbers, which are features of their moment as
  // well; else a label of the moment, which is none.
  CsvColumn target = int64_t{-1};
  Task task = Task::kRegression;
  std::string positive = {};            // kBinary: the label that is 1; empty: the one sorted last
  std::optional<CsvColumn> group = {};  // rows of the same text there are a series of their own
  std::vector<CsvColumn> ignored = {};  // times and the like
  std::vector<std::string> missing = CsvOptions().missing;
  bool allow_missing = false;            // missing features become NaN; else they are errors
  int64_t max_bytes = int64_t{8} << 30;  // of text, after decompression
};

struct Series {
  std::string name;  // of the file, for messages
  int64_t features = 0;
  std::vector<std::string> feature_names{};  // or empty: no header
  // Groups one behind the other, each in the order of its rows in the file.
  std::vector<float> x{};                  // (rows, features)
  std::vector<float> values{};             // kRegression: (rows)
  std::vector<int32_t> labels{};           // else: (rows), places in `classes`
  std::vector<std::string> classes{};      // names, sorted as csv.h says
  std::vector<int64_t> group_ends{};       // rows
  std::vector<std::string> group_names{};  // of each; empty: there is no group column
  Task task = Task::kRegression;
  bool has_missing = false;

  int64_t rows() const { return group_ends.empty() ? 0 : group_ends.back(); }
};

// Errors name the file, the line, the column and what to do.
Result<Series> LoadSeries(const std::string& path, const SeriesOptions& options = {});
// The same from memory; `name` stands for the file in messages.
Result<Series> ParseSeries(std::string_view text, const std::string& name,
                           const SeriesOptions& options = {});

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_SERIES_SERIES_H_
