// Tables of numbers with a label: comma-separated files (RFC 4180), plain or gzip-compressed.
//
// Fields may be quoted, lines end in LF, CRLF or CR, a UTF-8 byte order mark and blank lines are
// skipped, spaces around a field do not count. Numbers are read independently of the locale.
#ifndef LOCKSTEP_ENGINE_DATA_TABLE_CSV_H_
#define LOCKSTEP_ENGINE_DATA_TABLE_CSV_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/dataset.h"
#include "engine/data/table/csv_column.h"

namespace lockstep {

struct CsvOptions {
  char delimiter = ',';
  // kAuto: the first row is a header if some of its feature cells are texts and none is a number,
  // or if a column is given by name.
  enum class Header { kAuto, kYes, kNo } header = Header::kAuto;
  CsvColumn label = int64_t{-1};
  std::vector<CsvColumn> ignored = {};  // identifiers and the like
  std::vector<std::string> missing = {"", "NA", "N/A", "NaN", "nan", "NULL", "null", "?"};
  // A missing feature: an error; or NaN in the data, which standardising turns into the mean of the
  // training samples; or the row is left out. A missing label is an error unless rows are dropped.
  enum class Missing { kError, kMean, kDropRow } on_missing = Missing::kError;
  // kClasses: label texts become class numbers in sorted order (as numbers if all are numbers).
  // kBinary: exactly two label texts, target f32 {1}. kRegression: target f32 {1}.
  Task task = Task::kClasses;
  std::string positive = {};  // kBinary: the label text that is 1; empty: the one that sorts last
  int64_t max_bytes = int64_t{8} << 30;  // of text, after decompression
};

struct CsvData {
  std::shared_ptr<const InMemoryDataset> dataset;
  int64_t dropped_rows = 0;
  int64_t missing_cells = 0;  // among the features of the rows that were kept
};

// Errors name the file, the line, the column (from 1, as editors count), the text found, and what
// to do.
Result<CsvData> LoadCsv(const std::string& path, const CsvOptions& options = {});
// The same from memory; `name` stands for the file name in messages.
Result<CsvData> ParseCsv(std::string_view text, const std::string& name,
                         const CsvOptions& options = {});

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TABLE_CSV_H_
