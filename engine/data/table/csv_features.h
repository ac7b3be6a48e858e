// Tables of features to predict from: CSV files as in csv.h, with or without the label's column.
#ifndef LOCKSTEP_ENGINE_DATA_TABLE_CSV_FEATURES_H_
#define LOCKSTEP_ENGINE_DATA_TABLE_CSV_FEATURES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/table/csv.h"

namespace lockstep {

// A first row that holds all of `names`, or no number at all, is a header. With names and a header
// the columns are taken by name and others are left alone; else by place: the features alone, or
// the columns as they were in training, the label's or not.
struct CsvFeatureOptions {
  char delimiter = ',';
  int64_t count = 0;                    // of features
  std::vector<std::string> names = {};  // of the features, or empty: not known
  CsvColumn label = int64_t{-1};        // in the table trained on
  bool label_is_feature = false;        // of a series, whose label tells of its moment as well
  std::vector<CsvColumn> ignored = {};  // there
  std::optional<CsvColumn> group = {};  // of a series: this column is read as well, as text
  std::vector<std::string> missing = CsvOptions().missing;
  bool allow_missing = false;            // missing values become NaN; else they are errors
  int64_t max_bytes = int64_t{8} << 30;  // of text, after decompression
};

struct CsvFeatures {
  int64_t rows = 0;
  std::vector<float> x;               // (rows, count), rows in the file's order
  std::vector<std::string> groups{};  // of each row, where the options name a column of groups
};

// Errors name the file, the line, the column (from 1), the text found, and what to do.
Result<CsvFeatures> LoadCsvFeatures(const std::string& path, const CsvFeatureOptions& options);
// The same from memory; `name` stands for the file name in messages.
Result<CsvFeatures> ParseCsvFeatures(std::string_view text, const std::string& name,
                                     const CsvFeatureOptions& options);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TABLE_CSV_FEATURES_H_
