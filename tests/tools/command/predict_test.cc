// `lockstep predict`: from a model file alone and a table to a table of predictions.
#include <cmath>
#include <sstream>
#include <string>
#include <vector>

#include "tests/tools/program.h"

namespace lockstep::inline v0_1::tools {
namespace {

using Table = std::vector<std::vector<std::string>>;

Table Cells(const std::string& text) {
  Table table;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::vector<std::string>& row = table.emplace_back();
    std::istringstream cells(line);
    for (std::string cell; std::getline(cells, cell, ',');) row.push_back(cell);
  }
  return table;
}

std::string TextOf(const Table& table, size_t first_row, size_t rows,
                   const std::vector<size_t>& columns) {
  std::string text;
  for (size_t r = first_row; r < first_row + rows; ++r) {
    for (size_t c = 0; c < columns.size(); ++c) text += (c == 0 ? "" : ",") + table[r][columns[c]];
    text += '\n';
  }
  return text;
}

std::vector<size_t> UpTo(size_t n) {
  std::vector<size_t> all(n);
  for (size_t i = 0; i < n; ++i) all[i] = i;
  return all;
}

class Predict : public Program {
 protected:
  // Trains, and keeps nothing but the model file.
  void Train(const std::string& arguments) {
    const Ran ran = Run("train " + arguments + " output.folder=run output.checkpoint_seconds=0");
    ASSERT_EQ(ran.code, 0) << ran.out;
    fs::rename(folder_ / "run/model.safetensors", folder_ / "model.safetensors");
    fs::rename(folder_ / "run/last.safetensors", folder_ / "last.safetensors");
    fs::remove_all(folder_ / "run");
  }
  // What is predicted for a table of this text.
  std::string Of(const std::string& text) {
    Write("input.csv", text);
    const Ran ran = Run("predict model.safetensors input.csv");
    EXPECT_EQ(ran.code, 0) << ran.out;
    // What is guessed of the table is said in front, on standard error.
    std::string said = ran.out;
    while (said.starts_with("note: ")) said.erase(0, said.find('\n') + 1);
    return said;
  }
};

TEST_F(Predict, TakesColumnsByNameOrPlaceWithOrWithoutTheLabel) {
  Train(kClinical + " data.size=600 train.epochs=2");
  ASSERT_EQ(Run("data clinical --size 12 -o table.csv").code, 0);
  const Table table = Cells(Read("table.csv"));
  ASSERT_EQ(table.size(), 13u);
  const size_t columns = table[0].size();  // features, and the label
  ASSERT_EQ(columns, 21u);
  std::vector<size_t> features, backwards;
  for (size_t c = 0; c < columns; ++c) {
    if (c + 1 < columns) features.push_back(c);
    backwards.push_back(columns - 1 - c);
  }
  const std::string all = Of(TextOf(table, 0, 13, UpTo(columns)));
  const Table said = Cells(all);
  ASSERT_EQ(said.size(), 13u) << all;
  EXPECT_EQ(said[0], (std::vector<std::string>{"class", "probability of event"}));
  for (size_t r = 1; r < said.size(); ++r) {
    const double p = std::stod(said[r][1]);
    EXPECT_TRUE(p > 0.0 && p < 1.0) << all;
    EXPECT_EQ(said[r][0], p > 0.5 ? "event" : "no event");
  }
  EXPECT_EQ(Of(TextOf(table, 0, 13, features)), all);
  EXPECT_EQ(Of(TextOf(table, 0, 13, backwards)), all);
  EXPECT_EQ(Of(TextOf(table, 1, 12, UpTo(columns))), all);
  EXPECT_EQ(Of(TextOf(table, 1, 12, features)), all);
  // One row alone gets what it got among the others, to the last digit.
  for (size_t r : {1u, 7u, 12u}) {
    const Table one = Cells(Of(TextOf(table, r, 1, features)));
    ASSERT_EQ(one.size(), 2u);
    EXPECT_EQ(one[1], said[r]);
  }
  EXPECT_EQ(Run("predict model.safetensors table.csv -o said.csv").out, "");
  EXPECT_EQ(Read("said.csv"), all);
  EXPECT_EQ(Cells(Run("predict last.safetensors table.csv").out).size(), 13u);
}

TEST_F(Predict, NamesClassesAndSkipsIgnoredColumns) {
  std::string text;
  for (int i = 0; i < 90; ++i) {
    const int c = i % 3;
    const char* names[] = {"ash", "\"beech, red\"", "oak"};
    text += std::to_string(i) + "," + names[c] + "," + std::to_string(c * 10 + i % 7) + "," +
            std::to_string(-c + (i % 5) * 0.1) + "\n";
  }
  Write("trees.csv", text);
  Write(
      "trees.toml",
      "[data]\nkind = \"csv\"\npath = \"trees.csv\"\nlabel = \"1\"\nignore = [\"0\"]\n"
      "task = \"classes\"\n[train]\nepochs = 30\nbatch = 16\n[optimizer]\nlearning_rate = 0.03\n");
  Train("trees.toml");
  fs::remove(folder_ / "trees.csv");
  const std::string whole = Of("7,ash,1,0.1\n8,oak,22,-1.9\n");
  const std::string expected_head =
      "class,probability of ash,\"probability of beech, red\",probability of oak\n";
  EXPECT_EQ(whole.substr(0, expected_head.size()), expected_head);
  const Table said = Cells(whole.substr(expected_head.size()));
  ASSERT_EQ(said.size(), 2u) << whole;
  EXPECT_EQ(said[0][0], "ash") << whole;
  EXPECT_EQ(said[1][0], "oak") << whole;
  EXPECT_NEAR(std::stod(said[0][1]) + std::stod(said[0][2]) + std::stod(said[0][3]), 1.0, 1e-6);
  EXPECT_EQ(Of("7,1,0.1\n8,22,-1.9\n"), whole) << "without the label";
  EXPECT_EQ(Of("1,0.1\n22,-1.9\n"), whole) << "the features alone";
}

TEST_F(Predict, GivesTheValueOfARegression) {
  std::string text = "a,b,sum\n";
  for (int i = 0; i < 100; ++i) {
    const int a = i % 10, b = i / 10;
    text += std::to_string(a) + "," + (i == 50 ? "" : std::to_string(b)) + "," +
            std::to_string(a + b) + "\n";
  }
  Write("sums.csv", text);
  Write("sums.toml",
        "[data]\nkind = \"csv\"\npath = \"sums.csv\"\nlabel = \"sum\"\ntask = \"regression\"\n"
        "missing = \"mean\"\n[model]\nnorm = \"none\"\n[train]\nepochs = 60\nbatch = 16\n"
        "[optimizer]\nlearning_rate = 0.01\n");
  Train("sums.toml");
  const Table said = Cells(Of("b,a\n3,4\n,5\n"));
  ASSERT_EQ(said.size(), 3u);
  EXPECT_EQ(said[0], std::vector<std::string>{"value"});
  EXPECT_NEAR(std::stod(said[1][0]), 7.0, 2.0);
  EXPECT_TRUE(std::isfinite(std::stod(said[2][0]))) << "a missing value counts as the mean";
}

TEST_F(Predict, TakesImagesAsIdx) {
  Write("digits.toml", "[data]\nkind = \"digits\"\nsize = 500\n[model]\nhidden = [32]\n");
  Train("digits.toml train.epochs=2");
  ASSERT_EQ(Run("data digits --size 40 -o pictures").code, 0);
  std::string images;
  for (const auto& entry : fs::directory_iterator(folder_ / "pictures")) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("train-images")) images = "pictures/" + name;
  }
  ASSERT_NE(images, "");
  const Ran ran = Run("predict model.safetensors " + images);
  const Table said = Cells(ran.out);
  ASSERT_EQ(said.size(), 41u) << ran.out;
  EXPECT_EQ(said[0].size(), 11u);
  EXPECT_EQ(said[0][1], "probability of 0");
  Write("table.csv", "1,2,3\n");
  ExpectFails("predict model.safetensors table.csv", "table.csv: is not an IDX file");
}

TEST_F(Predict, BadInputIsOneClearLine) {
  Train(kClinical + " data.size=300 train.epochs=1");
  ASSERT_EQ(Run("data clinical --size 3 -o good.csv").code, 0);
  const Table table = Cells(Read("good.csv"));
  Write("narrow.csv", TextOf(table, 1, 3, UpTo(19)));
  Write("unnamed.csv", TextOf(table, 0, 3, UpTo(19)));
  Write("empty.csv", "");
  Write("header.csv", TextOf(table, 0, 1, UpTo(21)));
  std::string text = TextOf(table, 0, 4, UpTo(20));
  Write("text.csv", text.substr(0, text.rfind(',') + 1) + "high\n");
  Write("gap.csv", text.substr(0, text.rfind(',') + 1) + "\n");
  Write("ragged.csv", text.substr(0, text.rfind(',')) + "\n");
  ExpectFails("predict model.safetensors narrow.csv", "narrow.csv: it has 19 columns");
  ExpectFails("predict model.safetensors unnamed.csv", "the header has no column");
  ExpectFails("predict model.safetensors empty.csv", "empty.csv: the file is empty");
  ExpectFails("predict model.safetensors header.csv", "only a header");
  ExpectFails("predict model.safetensors text.csv", "line 4, column 20");
  ExpectFails("predict model.safetensors gap.csv", "missing value");
  ExpectFails("predict model.safetensors ragged.csv", "line 4: 19 cells");
  ExpectFails("predict model.safetensors gone.csv", "gone.csv");
  ExpectFails("predict gone.safetensors good.csv", "gone.safetensors");
  ExpectFails("predict good.csv good.csv", "good.csv");
  ExpectFails("predict model.safetensors good.csv -o /proc/nowhere/o.csv", "/proc/nowhere");
  ExpectFails("predict model.safetensors", "input", 2);
  EXPECT_FALSE(fs::exists(folder_ / "o.csv"));
}

TEST_F(Predict, DocumentsNeedNoLabelAndGoByTheColumnsName) {
  std::string text = "id,message,team\n";
  for (int i = 0; i < 60; ++i) {
    text += std::to_string(i) + (i % 2 == 0 ? ",\"buy, " : ",\"meet, ") + std::to_string(i % 7) +
            (i % 2 == 0 ? "\",spam\n" : "\",ham\n");
  }
  Write("mails.csv", text);
  Write("mails.toml",
        "[data]\nkind = \"text_table\"\npath = \"mails.csv\"\ntext = \"message\"\nlabel = "
        "\"team\"\ntokenizer = \"bytes\"\ncontext = 12\n[model]\nkind = \"transformer\"\n"
        "architecture = \"encoder\"\nlayers = 1\nheads = 2\nwidth = 8\n[train]\nepochs = 12\n"
        "batch = 8\n[optimizer]\nlearning_rate = 0.02\n");
  Train("mails.toml");
  const std::string whole = Of("id,message,team\n1,\"buy, 3\",ham\n2,\"meet, 4\",\n");
  const Table said = Cells(whole);
  ASSERT_EQ(said.size(), 3u) << whole;
  EXPECT_EQ(said[0],
            (std::vector<std::string>{"class", "probability of ham", "probability of spam"}));
  EXPECT_EQ(said[1][0], "spam") << whole;
  EXPECT_EQ(said[2][0], "ham") << whole;
  EXPECT_EQ(Of("message\n\"buy, 3\"\n\"meet, 4\"\n"), whole) << "without the label, by name";
  EXPECT_EQ(Cells(Of("message\n\"buy, 3 and more than twelve\"\n")).size(), 2u) << "cut";

  Write("other.csv", "subject\nbuy\n");
  Ran ran = Run("predict model.safetensors other.csv");
  EXPECT_NE(ran.code, 0);
  EXPECT_NE(ran.out.find("message"), std::string::npos) << ran.out;
  Write("empty.csv", "message\nbuy\n\"\"\n");
  ran = Run("predict model.safetensors empty.csv -o said.csv");
  EXPECT_NE(ran.code, 0);
  EXPECT_NE(ran.out.find("line 3, column 1 (\"message\"): the text is missing"), std::string::npos)
      << ran.out;
  EXPECT_FALSE(fs::exists(folder_ / "said.csv"));

  // The same table with other labels is not what the model knows.
  for (size_t at = 0; (at = text.find(",spam", at)) != std::string::npos; at += 5)
    text.replace(at, 5, ",junk");
  Write("junk.csv", text);
  ran = Run("eval model.safetensors data.path=junk.csv");
  EXPECT_NE(ran.code, 0);
  EXPECT_NE(ran.out.find("class 1 is \"junk\", to the model it is \"spam\""), std::string::npos)
      << ran.out;
}

TEST_F(Predict, SeriesTellOfEachCompleteWindowByRow) {
  std::string text = "time,load,heat\n";
  for (int i = 0; i < 80; ++i) {
    text +=
        std::to_string(i) + "," + std::to_string(10 + i % 4) + "," + std::to_string(i % 3) + "\n";
  }
  Write("meters.csv", text);
  Write("meters.toml",
        "[data]\nkind = \"series\"\npath = \"meters.csv\"\nlabel = \"load\"\nignore = [\"time\"]\n"
        "context = 5\nhorizon = 2\n[model]\nkind = \"recurrent\"\ncell = \"gru\"\nhidden = 4\n"
        "[train]\nepochs = 2\nbatch = 8\n");
  Train("meters.toml");
  const std::string rows = "load,heat\n10,0\n11,1\n12,2\n13,0\n10,1\n11,2\n12,0\n";
  const Table said = Cells(Of(rows));
  ASSERT_EQ(said.size(), 4u);
  EXPECT_EQ(said[0], (std::vector<std::string>{"row", "value"}));
  EXPECT_EQ(said[1][0], "5");
  EXPECT_EQ(said[3][0], "7");
  // Columns go by name; a window is told of alike wherever its rows stand.
  const Table moved = Cells(Of("heat,load\n2,12\n0,13\n1,10\n2,11\n0,12\n"));
  ASSERT_EQ(moved.size(), 2u);
  EXPECT_EQ(moved[1][0], "5");
  EXPECT_EQ(moved[1][1], said[3][1]);

  Write("short.csv", "load,heat\n10,0\n11,1\n");
  Ran ran = Run("predict model.safetensors short.csv");
  EXPECT_NE(ran.code, 0);
  EXPECT_NE(ran.out.find("a window has 5 moments (data.context), and there are 2"),
            std::string::npos)
      << ran.out;
  // Columns in another order are found by their names.
  std::string swapped;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const size_t comma = line.find(',');
    swapped += line.substr(comma + 1) + "," + line.substr(0, comma) + "\n";
  }
  Write("swapped.csv", swapped);
  const Ran here = Run("eval model.safetensors"),
            there = Run("eval model.safetensors data.path=swapped.csv");
  EXPECT_EQ(there.code, 0);
  EXPECT_EQ(there.out, here.out);
}

TEST_F(Predict, ASeriesOfGroupsIsReadGroupByGroup) {
  std::string text = "site,load\n";
  for (int i = 0; i < 80; ++i)
    text += std::string(i % 2 == 0 ? "north," : "south,") + std::to_string(i % 5) + "\n";
  Write("sites.csv", text);
  Write("sites.toml",
        "[data]\nkind = \"series\"\npath = \"sites.csv\"\nlabel = \"load\"\ngroup = \"site\"\n"
        "context = 3\n[model]\nkind = \"recurrent\"\nhidden = 4\n[train]\nepochs = 1\nbatch = 8\n");
  Train("sites.toml");
  const Table alone = Cells(Of("site,load\nnorth,1\nnorth,2\nnorth,3\n"));
  const Table mixed = Cells(Of("load,site\n1,north\n4,south\n2,north\n3,south\n3,north\n"));
  ASSERT_EQ(alone.size(), 2u);
  ASSERT_EQ(mixed.size(), 2u);
  EXPECT_EQ(mixed[1][0], "5");
  EXPECT_EQ(mixed[1][1], alone[1][1]);
  Write("input.csv", "load\n1\n2\n3\n");
  const Ran ran = Run("predict model.safetensors input.csv");
  EXPECT_NE(ran.code, 0);
  EXPECT_NE(ran.out.find("no column \"site\""), std::string::npos) << ran.out;
}

TEST_F(Predict, AModelOfLanguageIsForGenerate) {
  Write("text.txt", std::string(400, 'a') + std::string(400, 'b'));
  Write("text.toml",
        "[data]\nkind = \"text\"\npath = \"text.txt\"\ncontext = 8\n[model]\nkind = "
        "\"transformer\"\nlayers = 1\nheads = 2\nwidth = 8\n[train]\nepochs = 1\nbatch = 8\n");
  Train("text.toml");
  const Ran ran = Run("predict model.safetensors text.txt");
  EXPECT_NE(ran.code, 0);
  EXPECT_NE(ran.out.find("use generate"), std::string::npos) << ran.out;
}

}  // namespace
}  // namespace lockstep::tools
