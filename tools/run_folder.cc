#include "tools/run_folder.h"

#include <filesystem>

#include "engine/io/file.h"

namespace lockstep::tools {

Result<RunFolder> RunFolder::Create(const std::string& wanted, const std::string& recipe_path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  RunFolder folder{wanted};
  if (wanted.empty()) {
    const std::string base = "runs/" + fs::path(recipe_path).stem().string();
    folder.path = base;
    for (int n = 2; fs::exists(folder.recipe(), ignored); ++n)
      folder.path = base + "-" + std::to_string(n);
  } else if (fs::exists(folder.recipe(), ignored)) {
    return Status::Invalid(
        wanted +
        " holds a run already; go on with it by --resume, or choose another output.folder");
  }
  LOCKSTEP_TRY(CreateFolders(folder.path));
  return folder;
}

}  // namespace lockstep::tools
