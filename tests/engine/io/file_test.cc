#include "engine/io/file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>

#include "tests/engine/io/temporary_folder.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// One line that names the path, what the system said, and what to do.
void ExpectClear(const Status& status, const std::string& path, const std::string& reason,
                 const std::string& advice) {
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.message(),
              AllOf(HasSubstr(path), HasSubstr(reason), HasSubstr(advice), Not(HasSubstr("\n"))));
}

TEST(ReadFileTest, GivesEveryByteBack) {
  const TemporaryFolder folder;
  for (const size_t size : {size_t{0}, size_t{1}, size_t{4095}, size_t{4096}, size_t{100'001}}) {
    std::string content(size, '\0');
    for (size_t i = 0; i < size; ++i) content[i] = static_cast<char>(i * 131 >> 3);
    Spill(folder / "file", content);
    const Result<std::string> read = ReadFile(folder / "file");
    ASSERT_TRUE(read.ok()) << read.status().message();
    EXPECT_EQ(*read, content);
  }
}

TEST(ReadFileTest, RefusesMoreThanTheLimitAlsoFromADeviceWithoutEnd) {
  const TemporaryFolder folder;
  Spill(folder / "file", "12345");
  EXPECT_TRUE(ReadFile(folder / "file", 5).ok());
  ExpectClear(ReadFile(folder / "file", 4).status(), folder / "file", "5 bytes", "limit here is 4");
  ExpectClear(ReadFile("/dev/zero", 100'000).status(), "/dev/zero", "more than 100000", "meant");
}

TEST(ReadFileTest, SaysWhatIsWrong) {
  const TemporaryFolder folder;
  const Status missing = ReadFile(folder / "none").status();
  ExpectClear(missing, folder / "none", "No such file", "check the path");
  EXPECT_EQ(missing.code(), Code::kNotFound);
  ExpectClear(ReadFile(folder.path()).status(), folder.path(), "Is a directory", "path of a file");
}

TEST(InputFileTest, ReadsAnyPartAndNoticesTheEnd) {
  const TemporaryFolder folder;
  Spill(folder / "file", "0123456789");
  Result<InputFile> opened = InputFile::Open(folder / "file");
  ASSERT_TRUE(opened.ok());
  const InputFile file = std::move(opened).value();
  EXPECT_EQ(file.size(), 10);
  std::string part(4, ' ');
  ASSERT_TRUE(file.ReadAt(3, part.data(), 4).ok());
  EXPECT_EQ(part, "3456");
  EXPECT_TRUE(file.ReadAt(10, part.data(), 0).ok());
  ExpectClear(file.ReadAt(8, part.data(), 4), folder / "file", "byte 10", "cut short");
}

TEST(InputFileTest, TakesRegularFilesOnly) {
  const TemporaryFolder folder;
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_FALSE(InputFile::Open(folder / "pipe").ok());  // and does not wait for a writer
  EXPECT_FALSE(InputFile::Open("/dev/zero").ok());
  EXPECT_FALSE(InputFile::Open(folder.path()).ok());
}

TEST(AtomicFileTest, ReplacesAFileOnlyWhenComplete) {
  const TemporaryFolder folder;
  Spill(folder / "file", "old");
  {
    Result<AtomicFile> file = AtomicFile::Create(folder / "file");
    ASSERT_TRUE(file.ok()) << file.status().message();
    ASSERT_TRUE(file->Write("ne").ok());
    EXPECT_EQ(Slurp(folder / "file"), "old");
    ASSERT_TRUE(file->Write("w").ok());
    ASSERT_TRUE(file->Commit().ok());
  }
  EXPECT_EQ(Slurp(folder / "file"), "new");
  EXPECT_EQ(folder.files(), 1);
}

TEST(AtomicFileTest, LeavesNothingBehindWithoutCommit) {
  const TemporaryFolder folder;
  Spill(folder / "file", "old");
  {
    Result<AtomicFile> file = AtomicFile::Create(folder / "file");
    ASSERT_TRUE(file.ok() && file->Write("half").ok());
    EXPECT_EQ(folder.files(), 2);
    const AtomicFile moved = std::move(*file);
  }
  EXPECT_EQ(Slurp(folder / "file"), "old");
  EXPECT_EQ(folder.files(), 1);
}

TEST(AtomicFileTest, ASecondWriterIsRefusedAndALeftoverIsUsedAgain) {
  const TemporaryFolder folder;
  Spill(folder / "file.tmp", "a longer leftover of a killed process");
  {
    const Result<AtomicFile> first = AtomicFile::Create(folder / "file");
    ASSERT_TRUE(first.ok());
    ExpectClear(AtomicFile::Create(folder / "file").status(), folder / "file", "another process",
                "wait");
  }
  Spill(folder / "file.tmp", "a longer leftover of a killed process");
  ASSERT_TRUE(WriteFileAtomically(folder / "file", "new").ok());
  EXPECT_EQ(Slurp(folder / "file"), "new");
  EXPECT_EQ(folder.files(), 1);
}

TEST(AtomicFileTest, ManyWritersAtOnceNeverMixTheirContents) {
  const TemporaryFolder folder;
  std::vector<std::thread> writers;
  for (const char letter : {'a', 'b', 'c'}) {
    writers.emplace_back([&folder, letter] {
      const std::string content(5000, letter);
      for (int i = 0; i < 30; ++i) (void)WriteFileAtomically(folder / "file", content);
    });
  }
  for (auto& writer : writers) writer.join();
  const std::string content = Slurp(folder / "file");
  EXPECT_EQ(content, std::string(5000, content.at(0)));
  EXPECT_EQ(folder.files(), 1);
}

TEST(AtomicFileTest, SaysWhatIsWrongWithThePath) {
  const TemporaryFolder folder;
  ExpectClear(WriteFileAtomically(folder / "none/file", "x"), folder / "none/file", "No such file",
              "its folder exists");
  ExpectClear(WriteFileAtomically(folder.path(), "x"), folder.path(), "Is a directory",
              "path of a file");
  Spill(folder / "plain", "");
  ExpectClear(WriteFileAtomically(folder / "plain/file", "x"), folder / "plain/file",
              "Not a directory", "a file, not a folder");
  ExpectClear(WriteFileAtomically("/dev/null", "x"), "/dev/null", "not a regular file", "another");
  ExpectClear(WriteFileAtomically(folder / std::string(300, 'n'), "x"), "nnn", "too long",
              "shorter");
  ASSERT_EQ(symlink("/dev/null", (folder / "file.tmp").c_str()), 0);
  EXPECT_FALSE(WriteFileAtomically(folder / "file", "x").ok());  // does not follow a planted link
}

TEST(AtomicFileTest, AFolderThatCannotBeWrittenIsReported) {
  const TemporaryFolder folder;
  ASSERT_EQ(chmod(folder.path().c_str(), 0555), 0);
  const uid_t self = geteuid();
  if (self == 0) {
    ASSERT_EQ(seteuid(65534), 0);  // permissions do not bind root
  }
  const Status status = WriteFileAtomically(folder / "file", "x");
  if (self == 0) {
    ASSERT_EQ(seteuid(0), 0);
  }
  ASSERT_EQ(chmod(folder.path().c_str(), 0755), 0);
  ExpectClear(status, folder / "file", "Permission denied", "permissions");
}

// Writing fails in the middle, as on a full disk.
TEST(AtomicFileTest, AFailureInTheMiddleKeepsTheOldFileAndRemovesTheTemporary) {
  const TemporaryFolder folder;
  Spill(folder / "file", "old");
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit saved{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &saved), 0);
  const rlimit small{.rlim_cur = 10'000, .rlim_max = saved.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const Status status = WriteFileAtomically(folder / "file", std::string(1'000'000, 'x'));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &saved), 0);
  std::signal(SIGXFSZ, handler);
  ExpectClear(status, folder / "file", "File too large", "another folder");
  EXPECT_EQ(Slurp(folder / "file"), "old");
  EXPECT_EQ(folder.files(), 1);
}

TEST(WriteAllTest, SurvivesInterruptionsAndShortWrites) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  std::string sent(3'000'000, '\0');
  for (size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<char>(i * 2654435761u >> 13);
  struct sigaction action {
  }, before{};
  action.sa_handler = [](int) {};  // without SA_RESTART: calls come back with EINTR
  ASSERT_EQ(sigaction(SIGALRM, &action, &before), 0);

  sigset_t alarm;
  sigemptyset(&alarm);
  sigaddset(&alarm, SIGALRM);
  ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &alarm, nullptr), 0);  // the reader inherits this
  std::string received;
  std::thread reader([&] {
    char buffer[30'000];
    ssize_t got;
    while ((got = read(ends[0], buffer, sizeof(buffer))) > 0) {
      received.append(buffer, static_cast<size_t>(got));
      usleep(200);
    }
  });
  ASSERT_EQ(pthread_sigmask(SIG_UNBLOCK, &alarm, nullptr), 0);
  const itimerval every{.it_interval = {0, 500}, .it_value = {0, 500}}, never{};
  ASSERT_EQ(setitimer(ITIMER_REAL, &every, nullptr), 0);
  EXPECT_EQ(WriteAll(ends[1], std::as_bytes(std::span(sent))), 0);
  ASSERT_EQ(setitimer(ITIMER_REAL, &never, nullptr), 0);
  close(ends[1]);
  reader.join();
  close(ends[0]);
  ASSERT_EQ(sigaction(SIGALRM, &before, nullptr), 0);
  EXPECT_EQ(received, sent);
}

TEST(WriteAllTest, ReportsAFullDevice) {
  const int fd = open("/dev/full", O_WRONLY);
  if (fd < 0) GTEST_SKIP() << "there is no /dev/full";
  const std::string text = "x";
  const int error = WriteAll(fd, std::as_bytes(std::span(text)));
  close(fd);
  EXPECT_EQ(error, ENOSPC);
  ExpectClear(FileError("run/file", "write", error), "run/file", "No space left",
              "free some space");
}

TEST(CreateFoldersTest, MakesWhatIsMissingAndAcceptsWhatIsThere) {
  const TemporaryFolder folder;
  EXPECT_TRUE(CreateFolders(folder / "a/b/c").ok());
  EXPECT_TRUE(CreateFolders(folder / "a/b").ok());
  EXPECT_TRUE(std::filesystem::is_directory(folder / "a/b/c"));
  Spill(folder / "file", "");
  EXPECT_FALSE(CreateFolders(folder / "file/below").ok());
  EXPECT_FALSE(CreateFolders(folder / "file").ok());
}

TEST(QuotedTest, StaysOneLineAndShort) {
  EXPECT_EQ(Quoted("1.weight"), "\"1.weight\"");
  EXPECT_EQ(Quoted("a\nb\x7f"), "\"a\\x0ab\\x7f\"");
  EXPECT_EQ(Quoted("caf\xc3\xa9"), "\"caf\xc3\xa9\"");
  EXPECT_LT(Quoted(std::string(1 << 20, 'x')).size(), 100u);
  std::string accents;
  for (int i = 0; i < 200; ++i) accents += "\xc3\xa9";
  EXPECT_EQ(Quoted("x" + accents).find("\xc3..."), std::string::npos);  // no half characters
}

}  // namespace
}  // namespace lockstep
