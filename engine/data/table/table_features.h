// From the columns of a table to the numbers that a network takes.
//
//   number, yes/no   float((v - subtracted) / divided); a missing one as `fill`
//   date             likewise, then sin and cos of the day in the year and of the day in the week,
//                    and with a time of the hour in the day; a missing one gives zeros
//   category         1 for the one it is, 0 for all others, the last for a missing one; zeros for
//                    one that is not known; or, with an embedding, its number (exact in a float),
//                    which an EmbedFeatures layer looks up, the last for one that is not known
//
// Features with an embedding come last, whatever their columns' places.
#ifndef LOCKSTEP_ENGINE_DATA_TABLE_TABLE_FEATURES_H_
#define LOCKSTEP_ENGINE_DATA_TABLE_TABLE_FEATURES_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/data/dataset.h"
#include "engine/data/table/table_description.h"

namespace lockstep::inline v0_1 {

// Where a column's numbers are within a sample.
struct ColumnFeatures {
  int64_t column = 0;          // of description.columns
  int64_t begin = 0, end = 0;  // of x
  // kCategory: numbers of categories, with the missing and the unseen one: codes 0 to values - 1.
  // A missing cell has the code of its category where the column has one, else the unseen one.
  int64_t values = 0;
  bool embedded = false;
};

struct FeatureLayout {
  std::vector<ColumnFeatures> columns;  // by their place in x
  int64_t size = 0;                     // numbers of a sample
};
FeatureLayout LayoutOf(const TableDescription& description);

// "age", "town=Oslo", "town=(missing)", "seen (sin of year)": one for each number of x. Without a
// header columns are called by their number: "column 3".
std::vector<std::string> FeatureNames(const TableDescription& description);
std::string ColumnName(const TableDescription& description, int64_t column);

// What a date says beside its place in time: where it is in a cycle of `length` days, one of which
// began `shift` days before 1970.
struct DateCycle {
  const char* name;  // "year"
  double shift, length;
};
// The year, the week, the day.
std::span<const DateCycle> DateCycles();
// Those of a column of dates: the year, the week, and where there is a time the day; of times of the
// day the day alone. Of each the sine and the cosine are features, of 2 pi (days + shift) / length.
// A part of DateCycles().
std::span<const DateCycle> CyclesOf(const TableColumn& column);

// Fills in what a sample and its target look like: x_shape, feature_names, columns, embedded, task,
// targets, classes, table.
void DescribeSamples(std::shared_ptr<const TableDescription> description, DatasetInfo& info);

// What one cell is, ready to be encoded: of kCategory its code, else the value.
struct CellValue {
  double number = 0.0;  // NaN: missing
  int64_t code = 0;     // kCategory
};
inline constexpr int64_t kMissingCode = -1, kUnseenCode = -2;

// Writes the numbers of one column.
void EncodeCell(const TableColumn& column, const ColumnFeatures& where, CellValue value, float* x);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TABLE_TABLE_FEATURES_H_
