#include "tools/command/show_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/base/columns.h"
#include "engine/data/table/table_features.h"
#include "tools/command/column_facts.h"
#include "tools/scale/text_table.h"

namespace lockstep::inline v0_1::tools {
namespace {

using Kind = TableColumn::Kind;
using Role = TableColumn::Role;

constexpr size_t kLongestName = 16;
constexpr size_t kLongestWord = 16;  // of a category

// At most `most` characters on one line, the rest left out.
std::string Short(std::string_view text, size_t most) {
  std::string plain;
  const bool cut = Characters(text) > most;
  size_t characters = 0;
  for (const char c : text) {
    characters += (static_cast<unsigned char>(c) & 0xC0) != 0x80 ? 1 : 0;
    if (cut && characters > most - 3) break;
    plain += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? ' ' : c;
  }
  return plain + (cut ? "..." : "");
}

// Words set on lines of `width`; lines behind the first begin with `indent` blanks.
std::string Wrapped(const std::string& text, size_t indent, size_t width) {
  std::string out, line;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(' ', at + 1), text.size());
    const std::string word = text.substr(at, end - at);  // with the blank in front of it
    if (!line.empty() && Characters(line) + Characters(word) > width) {
      out += line + "\n";
      line = std::string(indent, ' ') + word.substr(word[0] == ' ' ? 1 : 0);
    } else {
      line += word;
    }
    at = end;
  }
  return out + line + "\n";
}

// "Oslo" 410, "Bern" 300, ...: as many as have room.
std::string CountsText(const ColumnFacts& facts, size_t room) {
  std::string text;
  for (size_t i = 0; i < facts.counts.size(); ++i) {
    const auto& [word, count] = facts.counts[i];
    const std::string next =
        fmt::format("{}\"{}\" {}", i == 0 ? "" : ", ", Short(word, kLongestWord), count);
    const bool last = i + 1 == facts.counts.size();
    if (i > 0 && Characters(text) + Characters(next) + (last ? 0 : 5) > room) return text + ", ...";
    text += next;
  }
  return text;
}

std::string Holds(const TableColumn& column, const ColumnFacts& facts, size_t room) {
  if (!facts.stored) return Short(column.note, room);
  if (facts.missing == facts.rows) return "nothing";
  switch (column.kind) {
    case Kind::kNumber:
      return fmt::format("{:.7g} to {:.7g}, mean {:.4g}, sd {:.2g}", facts.least, facts.most,
                         facts.mean, facts.sd);
    case Kind::kDate:
      return DateText(facts.least, column.has_time, column.date) + " to " +
             DateText(facts.most, column.has_time, column.date);
    case Kind::kYesNo:
      return CountsText(facts, room);
    case Kind::kCategory:
      break;
  }
  const std::string front = fmt::format("{}: ", facts.counts.size());
  return front + CountsText(facts, room - std::min(room, front.size()));
}

std::string DialectText(const TableDescription& description) {
  const Dialect& dialect = description.dialect;
  const auto sign = [](char c) {
    return c == ','    ? std::string("commas")
           : c == ';'  ? "semicolons"
           : c == '\t' ? "tabs"
           : c == '|'  ? "bars"
           : c == ' '  ? "blanks"
                       : fmt::format("\"{}\"", c);
  };
  std::string text = sign(dialect.delimiter) + " between columns";
  text += description.columns[0].name.empty() && !dialect.header
              ? ", no header (columns are numbered from 0, as data.label takes them)"
              : ", a header";
  if (dialect.row_names) text += ", row names";
  if (dialect.quote == '\'') text += ", texts in ''";
  if (dialect.comment != '\0') text += fmt::format(", comments behind {}", dialect.comment);
  if (dialect.number.decimal == ',') text += ", decimal commas";
  if (dialect.number.thousands != '\0')
    text += fmt::format(", thousands with \"{}\"", dialect.number.thousands);
  if (dialect.encoding == Dialect::Encoding::kLatin1) text += ", Latin-1";
  return text;
}

std::string TargetText(const Table& table, const std::vector<ColumnFacts>& facts) {
  const int64_t target = table.description.target();
  if (target < 0) return "none";
  const TableColumn& column = table.description.columns[static_cast<size_t>(target)];
  const ColumnFacts& its = facts[static_cast<size_t>(target)];
  std::string text = Short(ColumnName(table.description, target), 3 * kLongestName) + ", ";
  if (table.description.task == Task::kRegression)
    return text + "a regression: " + Holds(column, its, 60);
  text += table.description.task == Task::kBinary ? "binary"
                                                  : fmt::format("{} classes", its.counts.size());
  constexpr size_t kShown = 8;
  for (size_t i = 0; i < its.counts.size() && i < kShown; ++i) {
    const auto& [word, count] = its.counts[i];
    text +=
        fmt::format("{}\"{}\" {} ({:.1f} %)", i == 0 ? ": " : ", ", Short(word, 2 * kLongestName),
                    count, 100.0 * static_cast<double>(count) / static_cast<double>(its.rows));
  }
  if (its.counts.size() > kShown) text += ", ...";
  if (table.description.task == Task::kBinary && column.categories.size() == 2)
    text += fmt::format("; \"{}\" counts as 1", Short(column.categories[1], 2 * kLongestName));
  return text;
}

}  // namespace

std::string ShowTable(const Table& table, int columns) {
  const auto width = static_cast<size_t>(std::max(columns, 80));
  const TableDescription& description = table.description;
  const std::vector<ColumnFacts> facts = FactsOf(table);
  const FeatureLayout layout = LayoutOf(description);
  const auto count = [&](Role role) {
    return std::count_if(description.columns.begin(), description.columns.end(),
                         [role](const TableColumn& column) { return column.role == role; });
  };
  const int64_t rows = table.rows->size() + table.dropped_rows;
  std::string page =
      Wrapped(fmt::format("{}: {} rows, {} columns", table.name, rows, description.columns.size()),
              2, width);
  page += Wrapped("text      " + DialectText(description), 10, width);
  page += Wrapped("target    " + TargetText(table, facts), 10, width);
  const auto counted = [](int64_t number, const char* word) {
    return fmt::format("{} {}{}", number, word, number == 1 ? "" : "s");
  };
  std::string features = "features  " + counted(count(Role::kFeature), "column") + ", " +
                         counted(layout.size, "number") + " for the network";
  if (count(Role::kLeftOut) > 0)
    features += "; " + counted(count(Role::kLeftOut), "column") + " left out";
  page += Wrapped(features, 10, width);

  // Everything but the last column, with two blanks behind each.
  size_t name_width = 6, kind_width = 4, role_width = 4;
  for (size_t i = 0; i < facts.size(); ++i) {
    const TableColumn& column = description.columns[i];
    const std::string name = ColumnName(description, static_cast<int64_t>(i));
    name_width = std::max(name_width, std::min(Characters(name), kLongestName));
    kind_width = std::max(kind_width, std::string_view(NameOf(column.kind)).size());
    role_width = std::max(role_width, std::string_view(NameOf(column.role)).size());
  }
  const size_t room = width - (name_width + kind_width + role_width + 9 + 4 * 2);
  std::vector<scale::TextRow> lines = {{"column", "kind", "role", "missing", "holds"}};
  for (size_t i = 0; i < facts.size(); ++i) {
    const TableColumn& column = description.columns[i];
    lines.push_back({Short(ColumnName(description, static_cast<int64_t>(i)), kLongestName),
                     facts[i].stored ? NameOf(column.kind) : "", NameOf(column.role),
                     facts[i].missing > 0 ? fmt::format("{}", facts[i].missing) : "",
                     Short(Holds(column, facts[i], room), room)});
  }
  page += "\n" + scale::TextTable(lines, /*right=*/3);

  std::string strange;
  for (size_t i = 0; i < facts.size(); ++i) {
    if (facts[i].suspicion.empty()) continue;
    strange += Wrapped(fmt::format("look at {}: it {}",
                                   Short(ColumnName(description, static_cast<int64_t>(i)), 40),
                                   facts[i].suspicion),
                       2, width);
  }
  for (const std::string& remark : table.remarks) strange += Wrapped("note: " + remark, 2, width);
  return strange.empty() ? page : page + "\n" + strange;
}

}  // namespace lockstep::tools
