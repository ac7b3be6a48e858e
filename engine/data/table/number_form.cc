#include "engine/data/table/number_form.h"

#include <algorithm>
#include <cstddef>
#include <iterator>

#include "engine/base/characters.h"
#include "engine/data/byte_source.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr NumberForm kForms[] = {{'.', '\0'}, {',', '\0'}, {'.', ','},  {',', '.'},
                                 {'.', ' '},  {',', ' '},  {'.', '\''}, {',', '\''}};

bool Reads(NumberForm form, std::string_view cell) {
  return ReadNumber(cell, form).kind == NumberCell::kNumber;
}

// The cells of the columns most of whose cells stand for numbers.
std::vector<std::string_view> NumberCells(const std::vector<std::vector<std::string>>& rows,
                                          const MissingTexts& missing) {
  std::vector<std::string_view> cells, column;
  for (size_t i = 0; !rows.empty() && i < rows[0].size(); ++i) {
    column.clear();
    size_t texts = 0;
    for (const std::vector<std::string>& row : rows) {
      if (i >= row.size() || missing.Has(row[i])) continue;
      if (StandsForNumber(row[i])) {
        column.push_back(row[i]);
      } else {
        ++texts;
      }
    }
    if (column.size() > texts) cells.insert(cells.end(), column.begin(), column.end());
  }
  return cells;
}

}  // namespace

bool StandsForNumber(std::string_view cell) {
  const bool digits = std::any_of(cell.begin(), cell.end(), IsDigit);
  return digits && std::any_of(std::begin(kForms), std::end(kForms),
                               [&](NumberForm form) { return Reads(form, cell); });
}

NumberForm FindNumberForm(const std::vector<std::vector<std::string>>& rows, char delimiter,
                          const MissingTexts& missing, const DialectOptions& options,
                          std::vector<std::string>& remarks) {
  std::vector<NumberForm> forms;
  for (const NumberForm form : kForms) {
    if (options.decimal && form.decimal != *options.decimal) continue;
    if (options.thousands && form.thousands != *options.thousands) continue;
    forms.push_back(form);
  }
  if (forms.empty()) {
    const char thousands = options.thousands.value_or('\0');
    return {options.decimal.value_or(thousands == '.' ? ',' : '.'), thousands};
  }
  const std::vector<std::string_view> cells = NumberCells(rows, missing);
  std::vector<int64_t> counts;
  for (const NumberForm form : forms) {
    counts.push_back(std::count_if(cells.begin(), cells.end(),
                                   [form](std::string_view cell) { return Reads(form, cell); }));
  }
  const auto most = std::max_element(counts.begin(), counts.end());
  NumberForm best = forms[static_cast<size_t>(most - counts.begin())];
  if (options.decimal && options.thousands) return best;
  const auto as_well = [&](NumberForm form) {  // reads as many
    const auto place = std::find(forms.begin(), forms.end(), form);
    return *most > 0 && place != forms.end() &&
           counts[static_cast<size_t>(place - forms.begin())] == *most;
  };
  // An example that the plain form does not read, or reads otherwise.
  const auto example = [&](NumberForm other) {
    const auto found = std::find_if(cells.begin(), cells.end(), [&](std::string_view cell) {
      return Reads(best, cell) &&
             (!Reads(other, cell) || ReadNumber(cell, other).value != ReadNumber(cell, best).value);
    });
    return found == cells.end() ? std::string("\"\"") : ShownText(*found);
  };
  if (best == NumberForm{',', '\0'} && as_well({'.', ','})) {
    // "1,234" may be either: a file of commas has no decimal ones.
    const NumberForm comma = best;
    if (delimiter == ',') best = {'.', ','};
    remarks.push_back(
        "numbers such as " + example(delimiter == ',' ? comma : NumberForm{'.', ','}) +
        (delimiter == ',' ? " were read with thousands; data.decimal = \",\" reads decimal commas"
                          : " were read with a decimal comma; data.thousands = \",\" reads "
                            "thousands"));
  } else if (best == NumberForm{'.', '\0'} && delimiter == ';' && as_well({',', '.'})) {
    const std::string number = example({',', '.'});
    if (number != "\"\"") {
      remarks.push_back("numbers such as " + number +
                        " were read with a decimal point; data.thousands = \".\" reads thousands");
    }
  } else if (best.thousands != '\0' && !options.thousands) {
    remarks.push_back(
        "numbers such as " + example({best.decimal, '\0'}) +
        " were read with thousands; data.thousands = \"none\" reads such cells as texts");
  } else if (best.decimal == ',' && !options.decimal) {
    remarks.push_back("numbers such as " + example({'.', '\0'}) +
                      " were read with a decimal comma; data.decimal = \".\" reads such cells as "
                      "texts");
  }
  return best;
}

}  // namespace lockstep
