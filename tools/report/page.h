// A page for people: one HTML file with text, tables and plots that needs no network and no other
// file. Readable on a phone and on a desk, in light and dark, and on paper. The plots are drawn by
// Chart.js, which is part of the page.
#ifndef LOCKSTEP_TOOLS_REPORT_PAGE_H_
#define LOCKSTEP_TOOLS_REPORT_PAGE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lockstep::inline v0_1::tools {

// "1,234,567"
std::string Grouped(int64_t number);

// Values that are not finite (or not positive, on a logarithmic axis) leave a gap.
struct Series {
  std::string name{};            // one name has one colour in the whole page
  std::vector<double> x{}, y{};  // x is not read where the chart has categories
  // Optional, as long as y: a band around a line, error bars on bars and points.
  std::vector<double> low{}, high{};
  bool dashed = false;  // a line: what was not measured
};

struct Chart {
  enum class Kind { kLine, kBar, kScatter };
  std::string title{};
  std::string x_label{}, y_label{};
  Kind kind = Kind::kLine;
  bool log_x = false, log_y = false;
  std::vector<std::string> categories{};  // names along x instead of numbers; bars need them
  std::vector<Series> series{};
};

struct PagePicture {
  std::string uri{};  // "data:...": the page loads nothing
  int64_t height = 0, width = 0;
  std::string caption{}, note{};  // plain; the note is below the caption, and quiet
  bool wrong = false;             // framed as what is wrong
};

// Parts appear in the order of the calls. All text is plain: it is escaped, whatever it holds.
// Thread-compatible.
class Page {
 public:
  explicit Page(std::string title, std::string subtitle = "");

  void Heading(std::string_view text);
  void Text(std::string_view paragraph);
  // The first column names the rows; others are set to the right where they hold numbers only.
  void Table(std::string_view title, const std::vector<std::string>& header,
             const std::vector<std::vector<std::string>>& rows);
  void Table(const std::vector<std::string>& header,
             const std::vector<std::vector<std::string>>& rows) {
    Table("", header, rows);
  }
  // A row of tiles: what a number means, and the number.
  void Numbers(const std::vector<std::pair<std::string, std::string>>& numbers);
  void Plot(const Chart& chart);
  // Counts by row and column as a table shaded by the share of its row; what lies on the diagonal
  // is right, the rest wrong. counts[i][j] belongs to rows[i], columns[j].
  void Matrix(std::string_view title, const std::vector<std::string>& rows,
              const std::vector<std::string>& columns,
              const std::vector<std::vector<int64_t>>& counts);
  // Side by side, all as wide as the widest; small ones are enlarged, their pixels left square.
  void Pictures(std::string_view title, const std::vector<PagePicture>& pictures);
  // Text as it is, with its lines and blanks, folded away under its title.
  void Listing(std::string_view title, std::string_view text);

  std::string Html() const;

 private:
  struct Part {
    bool card;
    std::string html;
  };

  std::string title_, subtitle_;
  std::vector<Part> parts_;
  std::vector<Chart> charts_;
};

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_REPORT_PAGE_H_
