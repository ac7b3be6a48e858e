#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "engine/data/byte_source.h"
#include "engine/data/table/describe_table.h"
#include "engine/data/table/table.h"
#include "engine/data/table/table_cache.h"
#include "engine/io/hash.h"
#include "engine/io/nearest_name.h"

namespace lockstep {
namespace {

using Kind = TableColumn::Kind;
using Role = TableColumn::Role;

// Unseen words that a remark names.
constexpr size_t kShownWords = 3;

class EvidenceVisitor final : public RowVisitor {
 public:
  EvidenceVisitor(std::vector<ColumnEvidence> empty, const MissingTexts& missing, NumberForm form)
      : evidence(std::move(empty)), missing_(missing), form_(form) {}
  Status Visit(const TableRow& row) override {
    for (size_t i = 0; i < evidence.size(); ++i)
      evidence[i].Add(row.cells[i], row.line, missing_, form_);
    return Status::Ok();
  }
  std::vector<ColumnEvidence> evidence;

 private:
  const MissingTexts& missing_;
  const NumberForm form_;
};

// How the columns of a file are read for a description.
struct Reading {
  const TableText& text;
  const TableDescription& description;
  RecordLayout layout;
  std::vector<int64_t> sources;  // by column of the description: where it stands; -1: not here
  bool drop = false;             // rows with a missing value
  NumberForm form{};
  MissingTexts missing{};
  std::vector<std::unordered_map<std::string_view, int64_t>> codes{};  // by column

  Reading(const TableText& of, const TableDescription& as, RecordLayout into)
      : text(of),
        description(as),
        layout(std::move(into)),
        form(of.dialect().number),
        missing(as.missing),
        codes(as.columns.size()) {
    for (size_t i = 0; i < as.columns.size(); ++i) {
      const TableColumn& column = as.columns[i];
      if (column.kind != Kind::kCategory || column.role == Role::kLeftOut) continue;
      for (const std::string& category : column.categories)
        codes[i].emplace(category, static_cast<int64_t>(codes[i].size()));
    }
  }
};

// The records of neighbouring rows.
class RecordVisitor final : public RowVisitor {
 public:
  explicit RecordVisitor(const Reading& reading)
      : unseen(reading.description.columns.size()),
        words(reading.description.columns.size()),
        reading_(reading) {}

  Status Visit(const TableRow& row) override {
    const size_t begin = records.size();
    records.resize(begin + static_cast<size_t>(reading_.layout.bytes));
    for (size_t i = 0; i < reading_.sources.size(); ++i) {
      const int64_t source = reading_.sources[i];
      if (source < 0) continue;
      const std::string_view cell = row.cells[static_cast<size_t>(source)];
      bool is_missing = false;
      LOCKSTEP_TRY_ASSIGN(const CellValue value, Read(i, cell, row.line, source, is_missing));
      if (is_missing && reading_.drop) {
        records.resize(begin);
        ++dropped;
        return Status::Ok();
      }
      reading_.layout.Put(static_cast<int64_t>(i), value, records.data() + begin);
    }
    return Status::Ok();
  }

  std::vector<std::byte> records;
  int64_t dropped = 0;
  std::vector<int64_t> unseen;
  std::vector<std::vector<std::string>> words;  // some of the unseen ones

 private:
  Result<CellValue> Read(size_t i, std::string_view cell, int64_t line, int64_t source,
                         bool& is_missing) {
    const TableColumn& column = reading_.description.columns[i];
    constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
    const auto fail = [&](const std::string& what) {
      return Status::Corrupt(reading_.text.name() + ": line " + std::to_string(line) + ", " +
                             reading_.text.NameOf(source) + ": " + ShownText(cell) + what);
    };
    is_missing = reading_.missing.Has(cell);
    if (is_missing) {
      if (column.role == Role::kTarget && !reading_.drop)
        return fail(" is a missing target; complete it, or leave the row out");
      const bool is_error = column.kind != Kind::kCategory && !reading_.drop &&
                            (reading_.description.missing_is_error || column.role == Role::kWeight);
      if (is_error) {
        return fail(
            column.role == Role::kWeight
                ? " is a missing weight; complete it, or leave the row out"
                : " is a missing value, and the model was trained without any; complete it or "
                  "leave the row out");
      }
      return CellValue{.number = kNone, .code = kMissingCode};
    }
    switch (column.kind) {
      case Kind::kNumber: {
        const NumberCell number = ReadNumber(cell, reading_.form);
        if (number.kind != NumberCell::kNumber) {
          return fail(number.kind == NumberCell::kTooLarge ? " is too large for a number"
                      : number.kind == NumberCell::kNotFinite
                          ? " is not a finite number"
                          : " is not a number" + std::string(kMend));
        }
        if (column.role == Role::kWeight && number.value < 0.0)
          return fail(" is a negative weight; weights are 0 or more");
        if (std::abs(number.value) > std::numeric_limits<float>::max())
          return fail(" is too large for a 32-bit float; divide the column by something");
        return CellValue{.number = number.value};
      }
      case Kind::kYesNo: {
        const std::optional<int> word = ReadYesNo(cell);
        if (word) return CellValue{.number = static_cast<double>(*word)};
        if (cell == "0" || cell == "1") return CellValue{.number = cell == "1" ? 1.0 : 0.0};
        return fail(" is not yes or no" + std::string(kMend));
      }
      case Kind::kDate: {
        const std::optional<DateCell> date = ReadDate(cell, column.date);
        if (date) return CellValue{.number = date->days};
        return fail(" is not a date as the others of the column" + std::string(kMend));
      }
      case Kind::kCategory:
        break;
    }
    const auto& codes = reading_.codes[i];
    const auto found = codes.find(cell);
    if (found != codes.end()) return CellValue{.number = kNone, .code = found->second};
    if (column.role == Role::kTarget) {
      return fail(" is not a class of the model, which knows " + ShownClasses(column) +
                  "; correct it or leave the row out");
    }
    ++unseen[i];
    if (words[i].size() < kShownWords &&
        std::find(words[i].begin(), words[i].end(), cell) == words[i].end())
      words[i].emplace_back(cell);
    return CellValue{.number = kNone, .code = kUnseenCode};
  }

  static constexpr const char* kMend = "; complete it or leave the row out";
  static std::string ShownClasses(const TableColumn& column) {
    std::string text;
    for (size_t c = 0; c < column.categories.size() && c < 8; ++c)
      text += (c == 0 ? "" : ", ") + ShownText(column.categories[c]);
    return text + (column.categories.size() > 8 ? ", ..." : "");
  }

  const Reading& reading_;
};

// What records mean.
void AddMeaning(const TableDescription& description, Hasher& hasher) {
  const auto add = [&](const std::string& text) { hasher.AddNumber(text.size()).Add(text); };
  for (const TableColumn& column : description.columns) {
    add(column.name);
    add(NameOf(column.kind));
    add(NameOf(column.role));
    for (const std::string& category : column.categories) add(category);
  }
}

// All rows, stored, or written to `cache` where there is one. `rows`: how many there are, where that
// is known.
Result<Table> Store(const Reading& reading, int64_t rows, int threads,
                    const TableText::Progress& progress, TableCache* cache = nullptr) {
  Table table{.name = reading.text.name(), .description = {}, .rows = nullptr};
  table.unseen.resize(reading.description.columns.size());
  std::vector<std::vector<std::string>> words(table.unseen.size());
  std::vector<std::byte> records;
  if (cache == nullptr) records.reserve(static_cast<size_t>(rows * reading.layout.bytes));
  bool any = false;
  Hasher hasher;
  AddMeaning(reading.description, hasher);
  const auto make = [&] { return std::make_unique<RecordVisitor>(reading); };
  const auto take = [&](RowVisitor& visitor) {
    auto& part = static_cast<RecordVisitor&>(visitor);
    any = any || !part.records.empty();
    if (cache != nullptr) {
      LOCKSTEP_TRY(cache->Append(part.records));
    } else {
      records.insert(records.end(), part.records.begin(), part.records.end());
    }
    hasher.Add(part.records);
    table.dropped_rows += part.dropped;
    for (size_t i = 0; i < table.unseen.size(); ++i) {
      table.unseen[i] += part.unseen[i];
      for (std::string& word : part.words[i]) {
        if (words[i].size() < kShownWords &&
            std::find(words[i].begin(), words[i].end(), word) == words[i].end())
          words[i].push_back(std::move(word));
      }
    }
    return Status::Ok();
  };
  LOCKSTEP_TRY(reading.text.ForEachRow(make, take, threads, progress));
  for (size_t i = 0; i < table.unseen.size(); ++i) {
    if (table.unseen[i] == 0) continue;
    std::string shown;
    for (const std::string& word : words[i]) shown += (shown.empty() ? "" : ", ") + ShownText(word);
    table.remarks.push_back(reading.text.NameOf(reading.sources[i]) + ": " +
                            std::to_string(table.unseen[i]) +
                            (table.unseen[i] == 1 ? " cell holds a word" : " cells hold words") +
                            " that the model has never seen (" + shown +
                            (words[i].size() < kShownWords ? "" : ", ...") + ")");
  }
  if (table.dropped_rows > 0) {
    table.remarks.push_back(std::to_string(table.dropped_rows) +
                            " rows with missing values are left out");
  }
  if (!any) {
    return Status::Corrupt(reading.text.name() + ": all " + std::to_string(table.dropped_rows) +
                           " rows have missing values and were left out; have them filled instead "
                           "(data.missing = \"mean\")");
  }
  table.content = hasher.Finish();
  if (cache == nullptr)
    table.rows = std::make_shared<const TableRows>(reading.layout, std::move(records));
  return table;
}

DialectOptions WithMissing(const TableOptions& options) {
  DialectOptions dialect = options.dialect;
  dialect.missing = UsualMissingTexts();
  dialect.missing.insert(dialect.missing.end(), options.more_missing.begin(),
                         options.more_missing.end());
  const auto name = [&](const CsvColumn& column) {
    if (const auto* text = std::get_if<std::string>(&column)) dialect.names.push_back(*text);
  };
  for (const auto& column : {options.target, options.weight, options.group, options.time}) {
    if (column) name(*column);
  }
  for (const CsvColumn& column : options.ignored) name(column);
  for (const auto& [column, type] : options.types) name(column);
  return dialect;
}

Result<Table> Read(const TableText& text, const TableOptions& options,
                   TableCache* cache = nullptr) {
  LOCKSTEP_TRY_ASSIGN(const ColumnWishes wishes, WishesFor(text, options));
  std::vector<ColumnEvidence> evidence = EvidenceFor(text, wishes);
  const std::vector<ColumnEvidence> empty = evidence;
  std::vector<std::string> texts = UsualMissingTexts();
  texts.insert(texts.end(), options.more_missing.begin(), options.more_missing.end());
  const MissingTexts missing(texts);
  const auto half = [&](double from) -> TableText::Progress {
    if (!options.progress) return nullptr;
    return [&options, from](double share) { options.progress(from + share / 2.0); };
  };
  // Columns of which it is known that they have too many different cells: those who look at later
  // parts need not count them, which would be forgotten once they are taken.
  std::vector<std::atomic<bool>> too_many(evidence.size());
  LOCKSTEP_TRY(text.ForEachRow(
      [&] {
        auto visitor = std::make_unique<EvidenceVisitor>(empty, missing, text.dialect().number);
        for (size_t i = 0; i < too_many.size(); ++i) {
          if (too_many[i].load(std::memory_order_relaxed)) visitor->evidence[i].Forget();
        }
        return visitor;
      },
      [&](RowVisitor& visitor) {
        auto& part = static_cast<EvidenceVisitor&>(visitor);
        for (size_t i = 0; i < evidence.size(); ++i) {
          evidence[i].Merge(part.evidence[i]);
          too_many[i].store(!evidence[i].knows_texts(), std::memory_order_relaxed);
        }
        return Status::Ok();
      },
      options.threads, half(0.0)));
  if (evidence.empty() || evidence[0].cells == 0)
    return Status::Corrupt(text.name() + ": there is only a header and no row of data");
  LOCKSTEP_TRY_ASSIGN(DescribedTable described, DescribeTable(text, options, wishes, evidence));

  Reading reading(text, described.description, RecordLayout::Of(described.description));
  for (size_t i = 0; i < described.description.columns.size(); ++i) {
    const bool stored = described.description.columns[i].role != Role::kLeftOut;
    reading.sources.push_back(stored ? static_cast<int64_t>(i) : -1);
  }
  reading.drop = options.on_missing == TableOptions::Missing::kDropRow;
  LOCKSTEP_TRY_ASSIGN(Table table,
                      Store(reading, evidence[0].cells, options.threads, half(0.5), cache));
  std::vector<std::string> remarks = text.remarks();
  for (std::vector<std::string>* more : {&described.remarks, &table.remarks})
    remarks.insert(remarks.end(), more->begin(), more->end());
  table.remarks = std::move(remarks);
  table.description = std::move(described.description);
  if (cache != nullptr) LOCKSTEP_TRY(cache->Finish(reading.layout, table));
  return table;
}

// Where the columns that are needed stand in a file.
class ColumnFinder {
 public:
  ColumnFinder(const TableText& text, const TableDescription& description, const TableNeeds& needs)
      : text_(text), description_(description), needs_(needs) {}

  Result<std::vector<int64_t>> Find() const {
    const bool named = std::any_of(description_.columns.begin(), description_.columns.end(),
                                   [](const TableColumn& column) { return !column.name.empty(); });
    return named && !text_.names().empty() ? FindByName() : FindByPlace();
  }

 private:
  bool Needs(const TableColumn& column) const {
    switch (column.role) {
      case Role::kFeature:
        return true;
      case Role::kTarget:
        return needs_.target;
      case Role::kGroup:
      case Role::kWeight:
      case Role::kTime:
        return needs_.others;
      case Role::kLeftOut:
        break;
    }
    return false;
  }
  Status Fail(const std::string& what) const { return Status::Corrupt(text_.name() + ": " + what); }

  Result<std::vector<int64_t>> FindByName() const {
    std::vector<int64_t> sources;
    const std::vector<std::string>& names = text_.names();
    for (size_t i = 0; i < description_.columns.size(); ++i) {
      const TableColumn& column = description_.columns[i];
      const auto found = std::find(names.begin(), names.end(), column.name);
      const bool here = found != names.end() && !column.name.empty();
      if (!here && Needs(column)) {
        return Fail("the header has no column " + ShownText(column.name) +
                    ", which the model was trained on; the nearest is " +
                    ShownText(NearestName(column.name, names)));
      }
      sources.push_back(here && Needs(column) ? found - names.begin() : -1);
    }
    return sources;
  }

  // All columns as in training, or those without the target, or the needed ones alone.
  Result<std::vector<int64_t>> FindByPlace() const {
    const auto columns = static_cast<int64_t>(description_.columns.size());
    int64_t needed = 0;
    for (const TableColumn& column : description_.columns) needed += Needs(column) ? 1 : 0;
    const int64_t target = needs_.target ? -1 : description_.target();
    const int64_t width = text_.columns();
    const bool whole = width == columns;
    const bool without_target = target >= 0 && width == columns - 1;
    if (!whole && !without_target && width != needed) {
      return Fail("it has " + std::to_string(width) + " columns, the model was trained on " +
                  std::to_string(columns) + " and needs " + std::to_string(needed) +
                  " of them; check data.delimiter too");
    }
    std::vector<int64_t> sources;
    int64_t place = 0;
    for (int64_t i = 0; i < columns; ++i) {
      const bool needs = Needs(description_.columns[static_cast<size_t>(i)]);
      const bool here = whole || (without_target ? i != target : needs);
      sources.push_back(here && needs ? place : -1);
      place += here ? 1 : 0;
    }
    return sources;
  }

  const TableText& text_;
  const TableDescription& description_;
  const TableNeeds& needs_;
};

DialectOptions DialectFor(const TableDescription& description) {
  DialectOptions options{.missing = description.missing};
  for (const TableColumn& column : description.columns) {
    if (column.role == Role::kFeature && !column.name.empty()) options.names.push_back(column.name);
  }
  return options;
}

Result<Table> ReadFor(const TableText& text, const TableDescription& description,
                      const TableNeeds& needs) {
  // What a description needs not is not stored.
  LOCKSTEP_TRY_ASSIGN(std::vector<int64_t> sources, ColumnFinder(text, description, needs).Find());
  TableDescription stored = description;
  for (size_t i = 0; i < sources.size(); ++i) {
    if (sources[i] < 0) stored.columns[i].role = Role::kLeftOut;
  }
  Reading reading(text, stored, RecordLayout::Of(stored));
  reading.sources = std::move(sources);
  reading.drop = needs.drop;
  if (text.dialect().delimiter == description.dialect.delimiter)
    reading.form = description.dialect.number;
  LOCKSTEP_TRY_ASSIGN(Table table, Store(reading, 0, needs.threads, needs.progress));
  table.description = std::move(stored);
  std::vector<std::string> remarks = text.remarks();
  remarks.insert(remarks.end(), table.remarks.begin(), table.remarks.end());
  table.remarks = std::move(remarks);
  return table;
}

}  // namespace

Result<Table> ReadTable(const std::string& path, const TableOptions& options) {
  if (options.cache) {
    LOCKSTEP_TRY_ASSIGN(TableCache cache, TableCache::Open(path, options));
    if (std::optional<Table> table = cache.Take()) return std::move(*table);
    LOCKSTEP_TRY_ASSIGN(const TableText text, TableText::OpenFile(path, WithMissing(options)));
    LOCKSTEP_TRY_ASSIGN(Table table, Read(text, options, cache.writes() ? &cache : nullptr));
    if (!cache.remark().empty()) table.remarks.push_back(cache.remark());
    return table;
  }
  LOCKSTEP_TRY_ASSIGN(const TableText text, TableText::OpenFile(path, WithMissing(options)));
  return Read(text, options);
}
Result<Table> ParseTable(std::string_view text, const std::string& name,
                         const TableOptions& options) {
  LOCKSTEP_TRY_ASSIGN(const TableText opened,
                      TableText::OpenText(text, name, WithMissing(options)));
  return Read(opened, options);
}

Result<Table> ReadTableFor(const std::string& path, const TableDescription& description,
                           const TableNeeds& needs) {
  LOCKSTEP_TRY_ASSIGN(const TableText text, TableText::OpenFile(path, DialectFor(description)));
  return ReadFor(text, description, needs);
}
Result<Table> ParseTableFor(std::string_view text, const std::string& name,
                            const TableDescription& description, const TableNeeds& needs) {
  LOCKSTEP_TRY_ASSIGN(const TableText opened,
                      TableText::OpenText(text, name, DialectFor(description)));
  return ReadFor(opened, description, needs);
}

}  // namespace lockstep
