// One field of a table, read as a number.
#ifndef LOCKSTEP_ENGINE_DATA_TABLE_CSV_CELL_H_
#define LOCKSTEP_ENGINE_DATA_TABLE_CSV_CELL_H_

#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace lockstep {

struct CsvCell {
  enum Kind {
    kNumber,
    kMissing,    // one of the texts that stand for a missing value
    kText,       // neither
    kTooLarge,   // a number that a 32-bit float cannot hold
    kNotFinite,  // "inf" or "nan"
  };
  Kind kind = kText;
  float value = std::numeric_limits<float>::quiet_NaN();  // a number that is too small is 0
};

// Independent of the locale; a sign of either kind is allowed, spaces and hexadecimal are not.
CsvCell ReadCsvCell(std::string_view text, const std::vector<std::string>& missing);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TABLE_CSV_CELL_H_
