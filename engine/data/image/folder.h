// Which pictures a folder holds, and of which classes they are: the names of the folders they lie
// in.
//
//   ROOT/CLASS/...             all samples, to be split
//   ROOT/train/CLASS/...       a split that was made before, with ROOT/test/CLASS/... and
//                              ROOT/val/CLASS/... (or valid, validation), either or both
//
// Pictures may lie in further folders within that of their class. Symbolic links are followed; a
// folder that is reached twice (a loop, a class that is another's link, a test set that is the
// training set) is refused.
#ifndef LOCKSTEP_ENGINE_DATA_IMAGE_FOLDER_H_
#define LOCKSTEP_ENGINE_DATA_IMAGE_FOLDER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"

namespace lockstep::inline v0_1 {

struct PictureFile {
  std::string path;   // begins with the root as it was given
  int32_t label = 0;  // an index into PictureFolder::classes
};

struct PictureFolder {
  std::vector<std::string> classes = {};  // at least two, sorted by byte
  // Sorted by class, then by path, by byte: the same on every machine. Without ROOT/train, `train`
  // holds all and is_split is false.
  std::vector<PictureFile> train = {}, validation = {}, test = {};
  bool is_split = false;
  // What was passed over, or empty: "3 hidden files, 1 Thumbs.db, 12 .webp (pictures of a kind that
  // is not read: convert them to PNG or JPEG)".
  std::string ignored = {};
};

// Looks at names only, never into files. Errors: no such folder, no class folders, only one class,
// a class without pictures, pictures beside class folders, a class in test or val that train lacks,
// a folder reached twice, files and folders that may not be read, links to nothing.
Result<PictureFolder> ListPictureFolder(const std::string& root);

// Whether a file of this name is taken for a picture: .png, .jpg, .jpeg, .jpe, .jfif in any case,
// and not hidden.
bool HasPictureName(std::string_view file_name);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_IMAGE_FOLDER_H_
