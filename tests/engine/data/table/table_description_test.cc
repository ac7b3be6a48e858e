#include "engine/data/table/table_description.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "engine/data/table/table_features.h"
#include "tests/engine/data/data_files.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;
using Kind = TableColumn::Kind;
using Role = TableColumn::Role;

// One of each kind and role.
TableDescription Everything() {
  TableDescription description{
      .columns = {{.name = "age", .subtracted = 40.5, .divided = 0.1, .fill = 1e-300},
                  {.name = "t\"\n\xC3\xA9", .subtracted = 1.7e9, .exact = true, .indicate = true},
                  {.name = "smokes", .kind = Kind::kYesNo, .categories = {"Nein", "Ja"}},
                  {.name = "town",
                   .kind = Kind::kCategory,
                   .categories = {"", "a", "b"},
                   .counts = {1, 0, int64_t{1} << 40},
                   .has_missing = true,
                   .width = 3},
                  {.name = "seen",
                   .kind = Kind::kDate,
                   .has_missing = true,
                   .date = DateForm::kMonthDayYear,
                   .has_time = true,
                   .divided = 0.0},
                  {.name = "w", .role = Role::kWeight},
                  {.name = "who", .kind = Kind::kCategory, .role = Role::kGroup},
                  {.name = "when", .kind = Kind::kDate, .role = Role::kTime},
                  {.name = "", .role = Role::kLeftOut, .note = "it names the rows"},
                  {.name = "y",
                   .kind = Kind::kCategory,
                   .role = Role::kTarget,
                   .categories = {"no", "yes"}}},
      .missing = {"", "NA", "?"},
      .missing_is_error = false,
      .dialect = {.delimiter = '\t',
                  .quote = '\'',
                  .comment = '#',
                  .number = {',', '.'},
                  .encoding = Dialect::Encoding::kLatin1,
                  .header = true,
                  .row_names = true,
                  .open_end = true},
      .task = Task::kBinary};
  return description;
}

TEST(TableDescription, SurvivesJson) {
  const TableDescription description = Everything();
  const auto read = TableDescriptionFrom(ToJson(description));
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(*read, description);
  for (const Task task : {Task::kRegression, Task::kClasses}) {
    TableDescription other = description;
    other.task = task;
    if (task == Task::kRegression) other.columns[9] = {.name = "y", .role = Role::kTarget};
    other.dialect = {};
    other.missing.clear();
    EXPECT_EQ(TableDescriptionFrom(ToJson(other)).value(), other);
  }
}

TEST(TableDescription, NamesThatAreNoUtf8StayReadable) {
  TableDescription description = Everything();
  description.columns[0].name = "caf\xE9";
  EXPECT_TRUE(TableDescriptionFrom(ToJson(description)).ok());
}

TEST(TableDescription, FindsRoles) {
  const TableDescription description = Everything();
  EXPECT_EQ(description.target(), 9);
  EXPECT_EQ(description.PlaceOf(Role::kGroup), 6);
  EXPECT_EQ(TableDescription().target(), -1);
}

// What no description may hold, each by the change that makes it so.
TEST(TableDescription, WrongFieldsAreRefused) {
  const Json good = Json::parse(ToJson(Everything()));
  const auto error = [](const Json& json) {
    return TableDescriptionFrom(json.dump()).status().message();
  };
  const auto changed = [&](const std::string& pointer, const Json& value) {
    Json json = good;
    json[Json::json_pointer(pointer)] = value;
    return error(json);
  };
  EXPECT_EQ(error(good), "");
  for (const char* key : {"task", "dialect", "columns"}) {
    Json json = good;
    json.erase(key);
    EXPECT_THAT(error(json), HasSubstr("damaged")) << key;
  }
  for (const char* key : {"name", "kind", "role"}) {
    Json json = good;
    json["columns"][0].erase(key);
    EXPECT_THAT(error(json), HasSubstr("without \"" + std::string(key) + "\""));
  }
  for (const char* key : {"delimiter", "quote", "comment", "decimal", "thousands", "encoding"}) {
    Json json = good;
    json["dialect"].erase(key);
    EXPECT_THAT(error(json), HasSubstr("without \"" + std::string(key) + "\""));
  }
  const Json wrong[] = {nullptr, 7, -1, 1.5, true, "what", Json::array({1}), Json::object()};
  const auto all_wrong = [&](const std::string& pointer, const std::vector<int>& kinds) {
    for (const int kind : kinds)
      EXPECT_THAT(changed(pointer, wrong[kind]), HasSubstr("damaged")) << pointer << " " << kind;
  };
  all_wrong("/task", {0, 1, 2, 3, 4, 5, 6, 7});
  all_wrong("/missing", {0, 1, 2, 3, 4, 5, 6, 7});
  all_wrong("/missing_is_error", {0, 1, 2, 3, 5, 6, 7});
  all_wrong("/columns", {0, 1, 2, 3, 4, 5, 6, 7});
  all_wrong("/columns/0", {0, 1, 2, 3, 4, 5, 6, 7});
  all_wrong("/columns/0/name", {0, 1, 2, 3, 4, 6, 7});
  all_wrong("/columns/0/kind", {0, 1, 2, 3, 4, 5, 6, 7});
  all_wrong("/columns/0/role", {0, 1, 2, 3, 4, 5, 6, 7});
  all_wrong("/columns/0/note", {0, 1, 2, 3, 4, 6, 7});
  for (const char* number : {"subtracted", "divided", "fill"})
    all_wrong("/columns/0/" + std::string(number), {0, 4, 5, 6, 7});
  for (const char* flag : {"has_missing", "has_time", "exact", "indicate"})
    all_wrong("/columns/0/" + std::string(flag), {0, 1, 2, 3, 5, 6, 7});
  all_wrong("/columns/0/divided", {2});
  all_wrong("/columns/3/width", {0, 2, 3, 4, 5, 6, 7});
  all_wrong("/columns/3/categories", {0, 1, 2, 3, 4, 5, 6, 7});
  all_wrong("/columns/3/counts", {0, 1, 2, 3, 4, 5, 6, 7});
  all_wrong("/columns/4/date", {0, 1, 2, 3, 4, 5, 6, 7});
  all_wrong("/dialect", {0, 1, 2, 3, 4, 5, 6, 7});
  for (const char* letter : {"delimiter", "quote", "comment", "decimal", "thousands", "encoding"})
    all_wrong("/dialect/" + std::string(letter), {0, 1, 2, 3, 4, 5, 6, 7});
  for (const char* flag : {"header", "row_names", "open_end"})
    all_wrong("/dialect/" + std::string(flag), {0, 1, 2, 3, 5, 6, 7});

  EXPECT_THAT(changed("/columns/3/width", 1 << 20), HasSubstr("damaged"));
  EXPECT_THAT(changed("/columns/3/counts", Json::array({1, 2})), HasSubstr("damaged"));
  EXPECT_THAT(changed("/columns/3/counts", Json::array({1, 2, -1})), HasSubstr("damaged"));
  EXPECT_THAT(changed("/columns/3/counts", Json::array({1, 2, uint64_t{1} << 63})),
              HasSubstr("damaged"));
  EXPECT_THAT(changed("/columns/3/categories", Json::array()), HasSubstr("damaged"));
  EXPECT_THAT(changed("/columns/2/categories", Json::array({"a"})), HasSubstr("damaged"));
  EXPECT_THAT(changed("/columns/0/role", "target"), HasSubstr("more than one target"));
  EXPECT_THAT(changed("/dialect/delimiter", ""), HasSubstr("damaged"));
  EXPECT_THAT(changed("/dialect/delimiter", "\n"), HasSubstr("damaged"));
  EXPECT_THAT(changed("/dialect/decimal", "x"), HasSubstr("damaged"));
  // Of classes, one category cannot be all; of numbers, there are no classes.
  EXPECT_THAT(changed("/columns/9/categories", Json::array({"no"})), HasSubstr("damaged"));
  EXPECT_THAT(changed("/columns/9/categories", Json::array({"a", "b", "c"})), HasSubstr("damaged"));
  EXPECT_THAT(changed("/columns/9/kind", "number"), HasSubstr("damaged"));
  EXPECT_THAT(changed("/task", "regression"), HasSubstr("damaged"));
  // The same category twice would be two codes for one text.
  EXPECT_THAT(changed("/columns/3/categories", Json::array({"a", "b", "a"})), HasSubstr("damaged"));
}

TEST(TableDescription, HostileTextIsRefusedInOneLine) {
  for (const char* text : {"", "{", "null", "[]", "7", "\"x\"", "{\"task\":\"binary\"}"}) {
    const auto read = TableDescriptionFrom(text);
    ASSERT_FALSE(read.ok()) << text;
    EXPECT_THAT(read.status().message(), HasSubstr("save the model again"));
  }
  EXPECT_FALSE(TableDescriptionFrom(std::string(100000, '[')).ok());
  const std::string good = ToJson(Everything());
  std::string infinite = good;
  infinite.replace(infinite.find("40.5"), 4, "1e400");
  EXPECT_FALSE(TableDescriptionFrom(infinite).ok());
  Random random(9, StreamOf("hostile"));
  for (int i = 0; i < 3000; ++i) {
    const auto read = TableDescriptionFrom(Damaged(good, random));
    if (!read.ok()) {
      EXPECT_EQ(read.status().message().find('\n'), std::string::npos);
      continue;
    }
    // What is taken can be used.
    const FeatureLayout layout = LayoutOf(*read);
    EXPECT_EQ(FeatureNames(*read).size(), static_cast<size_t>(layout.size));
  }
}

}  // namespace
}  // namespace lockstep
