#include "engine/data/table/table_cache.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "engine/data/table/table.h"
#include "tests/engine/io/temporary_folder.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

std::string Text(int rows) {
  std::string text = "age,town,seen,y\n";
  const char* towns[] = {"Oslo", "Bern", "Lima"};
  for (int i = 0; i < rows; ++i) {
    text += std::to_string(20 + i * 7 % 60) + "." + std::to_string(i % 10) + "," +
            (i % 11 == 0 ? "" : towns[i % 3]) + ",2020-01-" + std::to_string(10 + i % 20) + "," +
            (i % 2 == 0 ? "yes" : "no") + "\n";
  }
  return text;
}

TableOptions Cached() {
  TableOptions options;
  options.on_missing = TableOptions::Missing::kMean;
  options.cache = true;
  return options;
}

Table Read(const std::string& path, const TableOptions& options) {
  auto table = ReadTable(path, options);
  EXPECT_TRUE(table.ok()) << table.status().message();
  return std::move(table).value();
}

void ExpectSame(const Table& a, const Table& b) {
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.description, b.description);
  EXPECT_EQ(a.content, b.content);
  EXPECT_EQ(a.dropped_rows, b.dropped_rows);
  EXPECT_EQ(a.unseen, b.unseen);
  ASSERT_EQ(a.rows->size(), b.rows->size());
  EXPECT_TRUE(std::equal(a.rows->bytes().begin(), a.rows->bytes().end(), b.rows->bytes().begin(),
                         b.rows->bytes().end()));
}

bool FromCopy(const Table& table) {
  return std::any_of(table.remarks.begin(), table.remarks.end(), [](const std::string& remark) {
    return remark.find("read from the binary copy") != std::string::npos;
  });
}

TEST(TableCacheTest, TheCopyIsWhatTheTextGave) {
  const TemporaryFolder folder;
  const std::string path = folder / "t.csv";
  Spill(path, Text(500));
  TableOptions plain = Cached();
  plain.cache = false;
  const Table text = Read(path, plain);
  EXPECT_EQ(folder.files(), 1);
  const Table first = Read(path, Cached());
  EXPECT_FALSE(FromCopy(first));
  EXPECT_TRUE(std::filesystem::exists(path + ".lockstep"));
  const Table second = Read(path, Cached());
  EXPECT_TRUE(FromCopy(second));
  ExpectSame(text, first);
  ExpectSame(text, second);
  EXPECT_EQ(folder.files(), 2);
  // Threads and places change nothing of what is read.
  TableOptions threads = Cached();
  threads.threads = 3;
  EXPECT_TRUE(FromCopy(Read(path, threads)));
}

TEST(TableCacheTest, InANamedFolderFilesOfOneNameAreKeptApart) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "a");
  std::filesystem::create_directory(folder / "b");
  Spill(folder / "a/t.csv", Text(40));
  Spill(folder / "b/t.csv", Text(60));
  TableOptions options = Cached();
  options.cache_folder = folder / "copies/new";
  for (const bool again : {false, true}) {
    for (const std::string name : {"a", "b"}) {
      const Table table = Read(folder / (name + "/t.csv"), options);
      EXPECT_EQ(FromCopy(table), again);
      EXPECT_EQ(table.rows->size(), name == "a" ? 40 : 60);
    }
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "a/t.csv.lockstep"));
}

TEST(TableCacheTest, OtherSettingsOrAnotherFileMakeItAnew) {
  const TemporaryFolder folder;
  const std::string path = folder / "t.csv";
  Spill(path, Text(300));
  Read(path, Cached());
  std::vector<TableOptions> others(9, Cached());
  others[0].on_missing = TableOptions::Missing::kIndicate;
  others[1].ignored = {CsvColumn(std::string("town"))};
  others[2].types = {{CsvColumn(std::string("age")), "category"}};
  others[3].target = CsvColumn(std::string("age"));
  others[4].positive = "no";
  others[5].more_missing = {"Oslo"};
  others[6].one_hot = 2;
  others[7].dialect.header = true;
  others[8].group = CsvColumn(std::string("town"));
  for (const TableOptions& other : others) {
    EXPECT_FALSE(FromCopy(Read(path, other)));
    EXPECT_TRUE(FromCopy(Read(path, other)));
  }
  Spill(path, Text(301));
  EXPECT_EQ(Read(path, others[8]).rows->size(), 301);
  // The same size, changed at another time.
  const struct timespec times[2] = {{.tv_sec = 1000, .tv_nsec = 1}, {.tv_sec = 1000, .tv_nsec = 1}};
  ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  EXPECT_FALSE(FromCopy(Read(path, others[8])));
}

std::string Slurped(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Whatever is wrong with a copy, the table is that of the text.
TEST(TableCacheTest, DamagedCopiesAreMadeAnewAndSaidSo) {
  const TemporaryFolder folder;
  const std::string path = folder / "t.csv", copy = path + ".lockstep";
  Spill(path, Text(50));
  TableOptions plain = Cached();
  plain.cache = false;
  const Table want = Read(path, plain);
  Read(path, Cached());  // whose rows are gone: a file that is mapped must not be cut short
  const std::string good = Slurped(copy);
  std::vector<std::string> bad = {"",
                                  "LKSTABLE",
                                  good.substr(0, good.size() / 2),
                                  good.substr(0, good.size() - 1),
                                  good + "x",
                                  std::string(good.size(), '\0'),
                                  std::string(200, 'x')};
  for (size_t at = 0; at < good.size(); at += 1 + at / 40) {
    if (at >= 16 && at < 64) continue;  // what means nothing
    bad.push_back(good);
    bad.back()[at] = static_cast<char>(bad.back()[at] ^ 0x41);
  }
  for (const std::string& bytes : bad) {
    Spill(copy, bytes);
    const Table table = Read(path, Cached());
    ExpectSame(table, want);
    ASSERT_FALSE(FromCopy(table));
    ASSERT_EQ(Slurped(copy), good);
  }
  Spill(copy, bad[2]);
  EXPECT_THAT(Read(path, Cached()).remarks, Contains(HasSubstr("made anew")));
}

TEST(TableCacheTest, WithoutAPlaceForACopyTheTableIsReadAndThatIsSaid) {
  const TemporaryFolder folder;
  const std::string path = folder / "t.csv";
  Spill(path, Text(50));
  std::filesystem::create_directory(path + ".lockstep");
  const Table table = Read(path, Cached());
  EXPECT_EQ(table.rows->size(), 50);
  EXPECT_THAT(table.remarks, Contains(HasSubstr("no binary copy")));
  EXPECT_THAT(table.remarks, Contains(HasSubstr("data.cache_folder")));
}

// Errors of the text leave no copy behind.
TEST(TableCacheTest, ATableThatIsRefusedHasNoCopy) {
  const TemporaryFolder folder;
  const std::string path = folder / "t.csv";
  Spill(path, Text(50) + "1,2\n");
  EXPECT_FALSE(ReadTable(path, Cached()).ok());
  EXPECT_EQ(folder.files(), 1);
}

TEST(TableCacheTest, ThreadsAndProcessesThatReadAtOnceGetTheSame) {
  const TemporaryFolder folder;
  const std::string path = folder / "t.csv";
  Spill(path, Text(20000));
  TableOptions plain = Cached();
  plain.cache = false;
  const uint64_t want = Read(path, plain).content;
  std::vector<pid_t> children;
  for (int i = 0; i < 3; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      bool same = true;
      for (int k = 0; k < 3; ++k) {
        if (k == 1 && i == 0) std::filesystem::remove(path + ".lockstep");
        const auto table = ReadTable(path, Cached());
        same = same && table.ok() && table->content == want && table->rows->size() == 20000;
      }
      _exit(same ? 0 : 1);
    }
    children.push_back(child);
  }
  std::vector<std::jthread> threads;
  for (int i = 0; i < 3; ++i)
    threads.emplace_back([&] { EXPECT_EQ(Read(path, Cached()).content, want); });
  threads.clear();
  for (const pid_t child : children) {
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  EXPECT_TRUE(FromCopy(Read(path, Cached())));
}

}  // namespace
}  // namespace lockstep
