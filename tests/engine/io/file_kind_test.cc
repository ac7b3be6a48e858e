#include "engine/io/file_kind.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "tests/engine/io/temporary_folder.h"

namespace lockstep::inline v0_1 {
namespace {

using namespace std::string_literals;

// The beginning of a ZIP archive whose first file has this name.
std::string Zip(const std::string& name) {
  std::string text = "PK\x03\x04"s + std::string(22, '\0');
  text += static_cast<char>(name.size());
  return text + "\0\0\0"s + name + "content";
}

TEST(FileKind, IsToldByTheBeginning) {
  EXPECT_EQ(FileKind("\x93NUMPY\x01\0v"s), "a NumPy array (NPY)");
  EXPECT_EQ(FileKind("PAR1\x15\x04"s), "a Parquet table");
  EXPECT_EQ(FileKind("\x89HDF\r\n\x1A\n"s), "an HDF5 file");
  EXPECT_EQ(FileKind("\xD0\xCF\x11\xE0\xA1"s),
            "an older Excel workbook (XLS) or another Office document");
  EXPECT_EQ(FileKind("\x1F\x8B\x08"s), "packed with gzip");
  EXPECT_EQ(FileKind("\x80\x02}q"s), "a Python pickle, as older PyTorch files are");
  EXPECT_EQ(FileKind("\0\0\x08\x03\0"s), "an IDX file");
  EXPECT_EQ(FileKind("\x40\0\0\0\0\0\0\0{\"a\""s), "a safetensors file");
  EXPECT_EQ(FileKind(std::string(257, 'x') + "ustar\0"s), "a tar archive");
  EXPECT_EQ(FileKind("BZh91AY&SY"), "packed with bzip2");
  EXPECT_EQ(FileKind("\xFF\xFEx\0"s), "text in UTF-16");
}

TEST(FileKind, ArchivesAreToldByTheirFirstFile) {
  EXPECT_EQ(FileKind(Zip("x.npy")), "a NumPy archive (NPZ)");
  EXPECT_EQ(FileKind(Zip("archive/data.pkl")), "a PyTorch file");
  EXPECT_EQ(FileKind(Zip("[Content_Types].xml")),
            "an Excel workbook (XLSX) or another Office document");
  EXPECT_EQ(FileKind(Zip("xl/workbook.xml")),
            "an Excel workbook (XLSX) or another Office document");
  EXPECT_EQ(FileKind(Zip("mimetype")), "an OpenDocument file (ODS)");
  EXPECT_EQ(FileKind(Zip("notes.txt")), "a ZIP archive");
  const std::string npz = Zip("x.npy");
  for (size_t length = 0; length < npz.size(); ++length)  // cut anywhere, no more than ZIP
    EXPECT_NE(FileKind(npz.substr(0, length)), "a PyTorch file") << length;
}

TEST(FileKind, TextIsOfNoKind) {
  for (const char* text : {"", "a", "PAR1,PAR2\n1,2\n", "FEA1;x\n", "CDF,age\n", "BZh,GGUF\n",
                           "age,sex\n3,1\n", "{\"a\": 1}", "[data]\n", "\xEF\xBB\xBFx,y\n"}) {
    EXPECT_EQ(FileKind(text), "") << text;
  }
}

TEST(FileKind, OfAFileAndOfNone) {
  const TemporaryFolder folder;
  std::ofstream(folder / "x", std::ios::binary) << Zip("x.npy");
  EXPECT_EQ(FileKindAt(folder / "x"), "a NumPy archive (NPZ)");
  EXPECT_EQ(FileKindAt(folder / "none"), "");
  EXPECT_EQ(FileKindAt(folder.path()), "");
}

}  // namespace
}  // namespace lockstep
