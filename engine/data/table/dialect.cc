#include "engine/data/table/dialect.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <utility>

#include "engine/base/characters.h"
#include "engine/data/byte_source.h"
#include "engine/data/table/number_form.h"
#include "engine/data/table/row_scanner.h"
#include "engine/data/table/table_cell.h"
#include "engine/data/table/table_header.h"
#include "engine/data/table/text_encoding.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr size_t kMostRows = 500;     // that are looked at
constexpr size_t kMostCells = 50000;  // likewise
using Rows = std::vector<std::vector<std::string>>;

// The first rows, as one dialect cuts them.
struct Cut {
  Dialect dialect;
  Rows rows;
  std::vector<int64_t> lines;  // that they begin in
  std::vector<size_t> ends;    // of each, in the text
  size_t begin = 0;            // of the rows in the text, behind a preamble
  std::string preamble{};      // its first line
  int64_t preamble_lines = 0;
  size_t width = 0;         // that most rows behind the first have
  double consistent = 0.0;  // share of them
  double readable = 0.0;    // share of cells that are numbers, dates or missing
  double score = 0.0;
};

class Finder {
 public:
  Finder(std::string_view beginning, bool whole, const std::string& name,
         const DialectOptions& options)
      : text_(beginning),
        whole_(whole),
        name_(name),
        options_(options),
        missing_(options.missing.empty() ? UsualMissingTexts() : options.missing) {}

  Result<FoundDialect> Find();

 private:
  Status CheckOptions() const;
  std::string_view LineAt(size_t at) const;
  void SkipFront();
  Cut CutRows(char delimiter, char quote) const;
  bool BeginsWithNames(const Rows& rows, char delimiter) const;
  void SkipPreamble(Cut& cut) const;
  void Judge(Cut& cut) const;
  bool ApostrophesQuote(char delimiter) const;
  Cut Best() const;
  void FindEnds(Cut& cut);
  Status FindNames(Cut& cut);

  std::string_view text_;
  const bool whole_;
  const std::string& name_;
  const DialectOptions& options_;
  const MissingTexts missing_;
  Dialect::Encoding encoding_ = Dialect::Encoding::kUtf8;
  std::optional<char> sep_;  // of a "sep=;" line
  char comment_ = '\0';
  std::string last_comment_;  // in front of the rows, without its sign
  size_t front_ = 0;          // bytes in front of the rows
  int64_t front_lines_ = 0;
  FoundDialect found_;
};

Status Finder::CheckOptions() const {
  const auto is_bad = [](const std::optional<char>& c) {
    return c && (*c == '\n' || *c == '\r' || (*c & 0x80) != 0);
  };
  if (is_bad(options_.delimiter) || options_.delimiter == '"' || options_.delimiter == '\0') {
    return Status::Invalid(name_ +
                           ": data.delimiter must be one character of ASCII that is no "
                           "quote and no line end, such as \";\"");
  }
  if (is_bad(options_.quote) || is_bad(options_.comment) ||
      (options_.quote && options_.quote == options_.delimiter)) {
    return Status::Invalid(name_ +
                           ": data.quote and data.comment must each be one character of "
                           "ASCII that is no line end and not the delimiter, or \"none\"");
  }
  if (options_.decimal && *options_.decimal != '.' && *options_.decimal != ',')
    return Status::Invalid(name_ + ": data.decimal must be \".\" or \",\"");
  if (options_.decimal && options_.decimal == options_.thousands)
    return Status::Invalid(name_ + ": data.decimal and data.thousands must differ");
  if (options_.decimal && options_.decimal == options_.delimiter)
    return Status::Invalid(name_ + ": data.decimal and data.delimiter must differ");
  return Status::Ok();
}

// With its end.
std::string_view Finder::LineAt(size_t at) const {
  const size_t end = std::min(text_.find_first_of("\r\n", at), text_.size());
  const size_t more = text_.substr(end).starts_with("\r\n") ? 2 : end < text_.size() ? 1 : 0;
  return text_.substr(at, end + more - at);
}

// Empty lines, a line "sep=;" as spreadsheet programs write it, and comments in front of the rows.
void Finder::SkipFront() {
  if (options_.comment) comment_ = *options_.comment;
  while (front_ < text_.size()) {
    const std::string_view line = LineAt(front_), inside = Trimmed(line);
    bool skip = inside.empty();
    std::string_view sep = inside;
    if (sep.size() >= 2 && sep.front() == '"' && sep.back() == '"')
      sep = sep.substr(1, sep.size() - 2);
    if (front_lines_ == 0 && (sep.size() == 5 || inside.size() == 4) &&
        (sep.starts_with("sep=") || sep.starts_with("SEP="))) {
      sep_ = sep.size() == 5 ? sep[4] : '\t';  // a tab was trimmed
      skip = true;
    }
    if (!skip && !options_.comment && (comment_ == '\0' || inside.front() == comment_) &&
        (inside.front() == '#' || inside.front() == '%')) {
      comment_ = inside.front();
    }
    if (!skip && comment_ != '\0' && inside.front() == comment_) {
      last_comment_ = Trimmed(inside.substr(1));
      skip = true;
    }
    if (!skip) break;
    front_ += line.size();
    ++front_lines_;
  }
  // Rows may begin with the sign themselves.
  if (front_ == text_.size() && !options_.comment && comment_ != '\0') {
    front_ = 0;
    front_lines_ = 0;
    comment_ = '\0';
    last_comment_.clear();
  }
}

Cut Finder::CutRows(char delimiter, char quote) const {
  Cut cut;
  cut.dialect.delimiter = delimiter;
  cut.dialect.quote = quote;
  cut.dialect.comment = comment_;
  cut.dialect.encoding = encoding_;
  cut.begin = front_;
  std::string_view rows = text_.substr(front_);
  int64_t lines = 0;
  if (!whole_) rows = rows.substr(0, WholeRows(rows, cut.dialect, lines));
  RowScanner scanner(cut.dialect, /*keep_blank=*/false);
  if (!scanner.Start(rows, front_lines_ + 1).ok()) return cut;
  for (size_t cells = 0; cut.rows.size() < kMostRows && cells < kMostCells;) {
    const Result<bool> more = scanner.Next();
    if (!more.ok() || !*more) break;
    cut.lines.push_back(scanner.line());
    cut.ends.push_back(static_cast<size_t>(scanner.place() - text_.data()));
    cut.rows.emplace_back(scanner.cells().begin(), scanner.cells().end());
    cells += cut.rows.back().size();
  }
  SkipPreamble(cut);
  Judge(cut);
  return cut;
}

// Whether the first of `rows` can be nothing but names.
bool Finder::BeginsWithNames(const Rows& rows, char delimiter) const {
  if (rows.size() < 2) return false;
  std::vector<std::string> unsaid;
  const NumberForm form =
      FindNumberForm({rows.begin() + 1, rows.end()}, delimiter, missing_, options_, unsaid);
  return FindHeader(rows, form, missing_, {}).unlike;
}

// Lines such as "Exported on 3 May", of one cell, in front of rows that all have the same number of
// more. One such line in front of rows of two cells may be R's header, which does not name the
// first column.
void Finder::SkipPreamble(Cut& cut) const {
  const auto is_row = [](const std::vector<std::string>& cells) { return cells.size() > 1; };
  const auto first = std::find_if(cut.rows.begin(), cut.rows.end(), is_row);
  const auto lines = first - cut.rows.begin();
  if (lines == 0 || cut.rows.end() - first < 2) return;
  const size_t width = first->size();
  if (std::any_of(first, cut.rows.end(), [&](const auto& row) { return row.size() != width; }))
    return;
  for (auto line = cut.rows.begin(); line != first; ++line) {
    const auto& names = options_.names;
    if (std::find(names.begin(), names.end(), line->front()) != names.end()) return;
  }
  if (lines == 1 && width == 2 && !BeginsWithNames({first, cut.rows.end()}, cut.dialect.delimiter))
    return;
  cut.preamble = cut.rows.front().front();
  cut.preamble_lines = lines;
  cut.begin = cut.ends[static_cast<size_t>(lines) - 1];
  cut.rows.erase(cut.rows.begin(), first);
  cut.lines.erase(cut.lines.begin(), cut.lines.begin() + lines);
  cut.ends.erase(cut.ends.begin(), cut.ends.begin() + lines);
}

void Finder::Judge(Cut& cut) const {
  if (cut.rows.empty()) return;
  std::map<size_t, size_t> widths;
  const size_t from = cut.rows.size() > 1 ? 1 : 0;
  for (size_t i = from; i < cut.rows.size(); ++i) ++widths[cut.rows[i].size()];
  size_t most = 0;
  for (const auto& [width, count] : widths) {
    if (count < most) continue;
    cut.width = width;
    most = count;
  }
  const size_t rows = cut.rows.size() - from;
  cut.consistent = static_cast<double>(most) / static_cast<double>(rows);
  size_t cells = 0, readable = 0, uncut = 0;
  for (size_t i = from; i < cut.rows.size(); ++i) {
    for (const std::string& cell : cut.rows[i]) {
      ++cells;
      if (missing_.Has(cell) || StandsForNumber(cell) || ReadDate(cell, DateForm::kYearMonthDay) ||
          ReadDate(cell, DateForm::kDayMonthYear)) {
        ++readable;
      } else if (cell.find_first_of(",;\t|") != std::string::npos) {
        ++uncut;  // as "5;m" where "30,5;m;ill" is cut at the comma
      }
    }
  }
  const auto all = static_cast<double>(std::max<size_t>(cells, 1));
  cut.readable = static_cast<double>(readable) / all;
  cut.score = cut.consistent + 0.5 * cut.readable - 0.5 * static_cast<double>(uncut) / all -
              (cut.rows[0].size() == cut.width && cut.preamble_lines == 0 ? 0.0 : 0.1);
}

// Whether cells are in '': as many begin with an apostrophe as end with one, and none is in "".
bool Finder::ApostrophesQuote(char delimiter) const {
  const std::string_view rows = text_.substr(front_);
  const auto ends_cell = [&](char c) { return c == delimiter || c == '\n' || c == '\r'; };
  size_t begins = 0, ends = 0;
  for (size_t at = rows.find('\''); at != std::string_view::npos; at = rows.find('\'', at + 1)) {
    size_t before = at, behind = at + 1;
    while (before > 0 && rows[before - 1] == ' ') --before;
    while (behind < rows.size() && rows[behind] == ' ') ++behind;
    const bool blank = delimiter == ' ';
    begins += before == 0 || ends_cell(rows[before - 1]) || (blank && before < at) ? 1 : 0;
    ends += (behind == rows.size() && whole_) ||
                    (behind < rows.size() && ends_cell(rows[behind])) || (blank && behind > at + 1)
                ? 1
                : 0;
  }
  return begins >= 2 && (begins == ends || (!whole_ && begins == ends + 1));
}

Cut Finder::Best() const {
  std::vector<char> delimiters = {',', ';', '\t', '|', ' '};
  if (options_.delimiter) {
    delimiters = {*options_.delimiter};
  } else if (sep_) {
    delimiters = {*sep_};
  } else if (options_.decimal == ',') {
    delimiters.erase(delimiters.begin());
  }
  Cut best;
  for (const char delimiter : delimiters) {
    Cut cut = CutRows(delimiter, options_.quote.value_or('"'));
    if (!options_.quote && ApostrophesQuote(delimiter)) {
      Cut other = CutRows(delimiter, '\'');
      if (other.score >= cut.score) cut = std::move(other);
    }
    if (delimiters.size() == 1) return cut;
    // Sentences are cut by blanks as well: their rows must hold numbers.
    if (cut.width < 2 || cut.consistent < 0.5 || (delimiter == ' ' && cut.readable < 0.2)) continue;
    if (best.rows.empty() || cut.score > best.score + 1e-9) best = std::move(cut);
  }
  if (!best.rows.empty()) return best;
  // One column.
  return CutRows(delimiters[0], options_.quote.value_or(ApostrophesQuote('\n') ? '\'' : '"'));
}

// A last column that is empty in all rows, and a first one that the header does not name.
void Finder::FindEnds(Cut& cut) {
  const size_t width = cut.width;
  if (cut.rows.size() < 2 || width < 2) return;
  bool empty_end = true;
  for (size_t i = 1; i < cut.rows.size(); ++i) {
    const std::vector<std::string>& row = cut.rows[i];
    if (row.size() == width && !row.back().empty()) empty_end = false;
    if (row.size() != width && row.size() + 1 != width) empty_end = false;
  }
  const std::vector<std::string>& first = cut.rows[0];
  const bool first_ends = first.size() == width && first.back().empty();
  const bool shorter = first.size() + 1 == width;
  if (empty_end && (first_ends || shorter)) {
    cut.dialect.open_end = true;
    cut.width = width - 1;
    for (std::vector<std::string>& row : cut.rows) row.resize(std::min(row.size(), cut.width));
  } else if (first.size() == width + 1 && first.back().empty()) {
    cut.dialect.open_end = true;  // of the header alone
    cut.rows[0].pop_back();
  } else if (shorter && options_.header.value_or(true) &&
             !BeginsWithNames({cut.rows.begin() + 1, cut.rows.end()}, cut.dialect.delimiter)) {
    cut.dialect.row_names = true;
    cut.rows[0].insert(cut.rows[0].begin(), "");
    found_.remarks.push_back(
        "the header names all columns but the first, which was read as a "
        "column of row names");
  }
}

Status Finder::FindNames(Cut& cut) {
  std::string remark;
  // "# a b c", as numpy.savetxt writes a header.
  std::vector<std::string> comment;
  if (!last_comment_.empty()) {
    Dialect plain = cut.dialect;
    plain.comment = '\0';
    RowScanner scanner(plain, false);
    if (scanner.Start(last_comment_, front_lines_).ok()) {
      const Result<bool> any = scanner.Next();
      if (any.ok() && *any) comment.assign(scanner.cells().begin(), scanner.cells().end());
    }
    if (comment.size() == cut.width + 1 && cut.dialect.open_end) comment.pop_back();
  }
  const auto doubts = [this](const FoundHeader& found) {
    return options_.doubt_is_data && found.header && !found.remark.empty();
  };
  FoundHeader header;
  if (options_.header) {
    header.header = *options_.header;
  } else if (cut.dialect.row_names) {
    header.header = true;
  } else {
    header = FindHeader(cut.rows, cut.dialect.number, missing_, options_.names);
    if (doubts(header)) header = {};
  }
  const bool in_comment = !header.header && options_.header.value_or(true) &&
                          comment.size() == cut.width && (cut.width > 1 || options_.header == true);
  if (in_comment) {
    Rows rows = cut.rows;
    rows.insert(rows.begin(), comment);
    const FoundHeader named = FindHeader(rows, cut.dialect.number, missing_, options_.names);
    if (named.header && !doubts(named)) {
      found_.names = comment;
      header.remark =
          "the last comment in front of the rows was read as names of columns; "
          "data.header = false leaves it out";
    }
  } else if (header.header) {
    found_.names = cut.rows[0];
    if (found_.names.size() != cut.width) {
      const size_t cells = found_.names.size();
      return Status::Corrupt(name_ + ": line " + std::to_string(cut.lines.front()) +
                             ": the first row has " + std::to_string(cells) + " cell" +
                             (cells == 1 ? "" : "s") + ", but most rows have " +
                             std::to_string(cut.width) +
                             "; every row needs the same number (data.delimiter, if that is not " +
                             ShownText(std::string(1, cut.dialect.delimiter)) +
                             "; lines in front of the table must go, or be comments)");
    }
    found_.rows_begin = cut.ends.front();
  }
  cut.dialect.header = !found_.names.empty();
  // A name of two lines, as spreadsheets have them, is one of two words.
  for (std::string& text : found_.names) {
    std::replace_if(
        text.begin(), text.end(),
        [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }, ' ');
  }
  if (!header.remark.empty()) found_.remarks.push_back(header.remark);
  MakeDistinct(found_.names, remark);
  if (!remark.empty()) found_.remarks.push_back(remark);
  return Status::Ok();
}

Result<FoundDialect> Finder::Find() {
  LOCKSTEP_TRY(CheckOptions());
  const FoundEncoding encoding = FindEncoding(text_, whole_);
  encoding_ = options_.encoding.value_or(encoding.encoding == TextEncoding::kLatin1
                                             ? Dialect::Encoding::kLatin1
                                             : Dialect::Encoding::kUtf8);
  if (encoding_ == Dialect::Encoding::kLatin1 && !options_.encoding) {
    found_.remarks.push_back(kReadAsLatin1);
  }
  SkipFront();
  if (comment_ != '\0' && !options_.comment) {
    found_.remarks.push_back(std::string("lines that begin with \"") + comment_ +
                             "\" were left out as comments; data.comment = \"none\" keeps them");
  }
  if (LineAt(front_).starts_with("@relation") || LineAt(front_).starts_with("@RELATION")) {
    return Status::Invalid(name_ +
                           ": is an ARFF file of Weka; make a CSV file of the lines behind "
                           "@data, with the attributes' names in front of them");
  }
  Cut cut = Best();
  if (cut.rows.empty()) {
    // Says what is wrong, if something is.
    RowScanner scanner(cut.dialect, false);
    LOCKSTEP_TRY(scanner.Start(text_.substr(front_), front_lines_ + 1).At(name_));
    LOCKSTEP_TRY(scanner.Next().status().At(name_));
    return Status::Corrupt(name_ + ": the file is empty; it must hold rows of cells");
  }
  FindEnds(cut);
  const Rows below(cut.rows.begin() + (cut.rows.size() > 1 ? 1 : 0), cut.rows.end());
  cut.dialect.number =
      FindNumberForm(below, cut.dialect.delimiter, missing_, options_, found_.remarks);
  if (cut.preamble_lines > 0) {
    const bool one = cut.preamble_lines == 1;
    found_.remarks.push_back((one ? "line " : std::to_string(cut.preamble_lines) + " lines from ") +
                             ShownText(cut.preamble) + (one ? " was" : " on were") +
                             " left out: one cell, in front of rows that all have " +
                             std::to_string(cut.width));
  }
  found_.rows_begin = cut.begin;
  LOCKSTEP_TRY(FindNames(cut));
  found_.rows_line = 1 + CountLineEnds(text_.substr(0, found_.rows_begin));
  found_.columns = static_cast<int64_t>(cut.width);
  found_.dialect = cut.dialect;
  return std::move(found_);
}

}  // namespace

Result<FoundDialect> FindDialect(std::string_view beginning, bool whole, const std::string& name,
                                 const DialectOptions& options) {
  return Finder(beginning, whole, name, options).Find();
}

}  // namespace lockstep
