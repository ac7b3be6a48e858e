// Series of measurements: tables as in engine/data/table/table_text.h, whose rows are moments one
// after the other.
#ifndef LOCKSTEP_ENGINE_DATA_SERIES_SERIES_H_
#define LOCKSTEP_ENGINE_DATA_SERIES_SERIES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/objective.h"
#include "engine/data/table/csv_column.h"
#include "engine/data/table/table_description.h"
#include "engine/data/table/table_text.h"

namespace lockstep::inline v0_1 {

struct SeriesOptions {
  // Where `header` is not given, a first row with numbers is none, and there is one where a column
  // is given by its name. `names` and `missing` are filled in.
  DialectOptions dialect{};
  // What is to be told: of kRegression a column of numbers, which are features of their moment as
  // well; else a label of the moment, which is none.
  CsvColumn target = int64_t{-1};
  Task task = Task::kRegression;
  std::string positive = {};            // kBinary: the label that is 1; empty: the one sorted last
  std::optional<CsvColumn> group = {};  // rows of the same text there are a series of their own
  std::vector<CsvColumn> ignored = {};  // times and the like
  std::vector<std::string> more_missing{};  // beside UsualMissingTexts()
  bool allow_missing = false;               // missing features become NaN; else they are errors
  int threads = 1;                          // changes nothing but the time

  // To read for a model: the columns of the series it was trained on, with their names and roles,
  // found again as engine/data/table/find_columns.h says; others are left alone. Target and group
  // are those of the options above where no column has that role. Empty: all columns are features
  // but those above.
  std::vector<TableColumn> trained{};
  std::vector<std::string> classes{};  // that it knows; empty: those of the file
  // To predict from: the column of labels may be there or not and is not read.
  bool unlabelled = false;
};

struct Series {
  std::string name;                    // of the file, for messages
  std::vector<TableColumn> columns{};  // of the file: names and roles
  int64_t features = 0;
  std::vector<std::string> feature_names{};  // or empty: no header
  // Groups one behind the other, each in the order of its rows in the file.
  std::vector<float> x{};                  // (rows, features)
  std::vector<float> values{};             // kRegression: (rows)
  std::vector<int32_t> labels{};           // else: (rows), places in `classes`; empty: unlabelled
  std::vector<std::string> classes{};      // names, in the order of class_labels.h
  std::vector<int64_t> places{};           // (rows): of each row in the file, from 0
  std::vector<int64_t> group_ends{};       // rows
  std::vector<std::string> group_names{};  // of each; empty: there is no group column
  Task task = Task::kRegression;
  bool has_missing = false;
  std::vector<std::string> remarks{};  // what the user should be told, a line each

  int64_t rows() const { return group_ends.empty() ? 0 : group_ends.back(); }
};

// Errors name the file, the line, the column and what to do.
Result<Series> LoadSeries(const std::string& path, const SeriesOptions& options = {});
// The same from memory; `name` stands for the file in messages.
Result<Series> ParseSeries(std::string_view text, const std::string& name,
                           const SeriesOptions& options = {});

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_SERIES_SERIES_H_
