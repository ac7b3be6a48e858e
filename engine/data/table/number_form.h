// How the numbers of a table are written: with a decimal point or comma, with or without thousands.
#ifndef LOCKSTEP_ENGINE_DATA_TABLE_NUMBER_FORM_H_
#define LOCKSTEP_ENGINE_DATA_TABLE_NUMBER_FORM_H_

#include <string>
#include <string_view>
#include <vector>

#include "engine/data/table/dialect.h"
#include "engine/data/table/table_cell.h"

namespace lockstep::inline v0_1 {

// Whether it is a number in one of the forms that FindNumberForm knows.
bool StandsForNumber(std::string_view cell);

// The form that reads most cells of the columns that hold numbers; among equals the plainest.
// `rows` are without a header. What was guessed is added to `remarks`.
NumberForm FindNumberForm(const std::vector<std::vector<std::string>>& rows, char delimiter,
                          const MissingTexts& missing, const DialectOptions& options,
                          std::vector<std::string>& remarks);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TABLE_NUMBER_FORM_H_
