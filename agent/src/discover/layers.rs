//! The layers of an overlay, as its mount options name them.

use std::path::{Path, PathBuf};

use procfs::process::MountInfo;

use super::unescape_octal;

/// The folders that an overlay shows as one, as whoever mounted it named them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layers {
    /// The one that changes go to.
    pub upper: Option<PathBuf>,
    /// Those below, from the top.
    pub lower: Vec<PathBuf>,
    /// Those that only files with their metadata elsewhere refer to.
    pub data_only: Vec<PathBuf>,
    /// Whether the kernel's notes on files are in `user.` attributes.
    pub user_attributes: bool,
}

impl Layers {
    /// Takes them from the mount's options.
    pub fn of(mount: &MountInfo) -> Self {
        let option = |name: &str| mount.super_options.get(name)?.as_deref().map(unescape_octal);
        let (lower, data_only) =
            option("lowerdir").map(|folders| split(&folders)).unwrap_or_default();
        Self {
            upper: option("upperdir").map(|folder| PathBuf::from(unescape(&folder))),
            lower,
            data_only,
            user_attributes: mount.super_options.contains_key("userxattr"),
        }
    }

    /// The same without the layers whose path is not absolute.
    pub fn absolute(mut self) -> Self {
        self.upper = self.upper.filter(|folder| folder.is_absolute());
        self.lower.retain(|folder| folder.is_absolute());
        self.data_only.retain(|folder| folder.is_absolute());
        self
    }

    /// All of them, from the top.
    pub fn all(&self) -> impl Iterator<Item = &PathBuf> {
        self.upper.iter().chain(&self.lower).chain(&self.data_only)
    }

    /// The same, where those that are relative are in this folder.
    pub fn within(&self, base: &Path) -> Self {
        let join = |folders: &[PathBuf]| folders.iter().map(|folder| base.join(folder)).collect();
        Self {
            upper: self.upper.as_ref().map(|folder| base.join(folder)),
            lower: join(&self.lower),
            data_only: join(&self.data_only),
            user_attributes: self.user_attributes,
        }
    }
}

/// Splits `lowerdir` at colons; a backslash takes the meaning from the next character. Layers of data
/// only stand behind two colons (Documentation/filesystems/overlayfs.rst).
fn split(folders: &str) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for c in folders.chars() {
        match c {
            '\\' if !escaped => escaped = true,
            ':' if !escaped => parts.push(String::new()),
            c => {
                escaped = false;
                if let Some(last) = parts.last_mut() {
                    last.push(c);
                }
            }
        }
    }
    let tree = parts.iter().position(String::is_empty).unwrap_or(parts.len());
    let data_only = parts.split_off(tree);
    let paths = |parts: Vec<String>| {
        parts.into_iter().filter(|part| !part.is_empty()).map(PathBuf::from).collect()
    };
    (paths(parts), paths(data_only))
}

fn unescape(folder: &str) -> String {
    let mut escaped = false;
    folder
        .chars()
        .filter(|&c| {
            escaped = c == '\\' && !escaped;
            !escaped
        })
        .collect()
}

/// Each layer in an option of its own, as mounts by fsconfig(2) have them since Linux 6.8, in the form of
/// the one option of old: a map of options keeps only one of them. `line` is the mount's in mountinfo.
pub(super) fn join_options(line: &str, mount: &mut MountInfo) {
    let options = line.rsplit(' ').next().unwrap_or_default().split(',');
    let values = |name: &str| {
        let escape = |value: &str| value.replace(r"\134", r"\134\134").replace(':', r"\134:");
        let named = options.clone().filter_map(|option| option.strip_prefix(name)).map(escape);
        named.collect::<Vec<_>>()
    };
    let lower = values("lowerdir+=");
    if !lower.is_empty() {
        let data_only = values("datadir+=").into_iter().map(|folder| format!("::{folder}"));
        let folders = lower.join(":") + &data_only.collect::<String>();
        mount.super_options.insert("lowerdir".to_owned(), Some(folders));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(options: &str) -> Layers {
        let line = format!("36 35 0:52 / /merged rw,relatime - overlay overlay rw,{options}");
        let mut mount = MountInfo::from_line(&line).unwrap();
        join_options(&line, &mut mount);
        Layers::of(&mount)
    }

    fn paths(list: &[&str]) -> Vec<PathBuf> {
        list.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn docker_layers() {
        let expect = Layers {
            upper: Some("/var/lib/docker/overlay2/a/diff".into()),
            lower: paths(&["/l/A", "/l/B"]),
            ..Layers::default()
        };
        let options = "lowerdir=/l/A:/l/B,upperdir=/var/lib/docker/overlay2/a/diff,workdir=/w";
        assert_eq!(layers(options), expect);
        assert_eq!(layers("lowerdir+=/l/A,lowerdir+=/l/B").lower, paths(&["/l/A", "/l/B"]));
        let options = r"lowerdir+=/l:A,lowerdir+=/l\134B,datadir+=/d,datadir+=/e,userxattr";
        let expect = Layers {
            upper: None,
            lower: paths(&["/l:A", r"/l\B"]),
            data_only: paths(&["/d", "/e"]),
            user_attributes: true,
        };
        assert_eq!(layers(options), expect);
    }

    #[test]
    fn relative_layers_are_not_guessed() {
        let relative = layers("lowerdir=l/A:l/B,upperdir=a/diff");
        assert_eq!(relative.within(Path::new("/d")).lower, paths(&["/d/l/A", "/d/l/B"]));
        assert_eq!(relative.absolute(), Layers::default());
    }

    #[test]
    fn escaped_and_data_layers() {
        assert_eq!(split(r"/a\:b:/c::/d::/e"), (paths(&["/a:b", "/c"]), paths(&["/d", "/e"])));
        assert_eq!(split(r"/a\\b"), (paths(&[r"/a\b"]), Vec::new()));
    }
}
