//! The form of a request's path in which it is compared with an Ingress's: escapes decoded, slashes merged, `.` and `..`
//! followed, as nginx does it. Backends get the path as it was sent. Pure.
//! Source: <https://nginx.org/en/docs/http/ngx_http_core_module.html#location>

use std::borrow::Cow;

pub fn normal(path: &str) -> Cow<'_, str> {
    if memchr::memchr(b'%', path.as_bytes()).is_none() && !path.contains("//") && !path.contains("/.") {
        return Cow::Borrowed(path);
    }
    let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
    let mut elements: Vec<&str> = Vec::new();
    // A path that ends in `.` or `..` is that of a directory.
    let mut directory = false;
    for element in decoded.split('/') {
        directory = matches!(element, "" | "." | "..");
        match element {
            "" | "." => {}
            ".." => _ = elements.pop(),
            element => elements.push(element),
        }
    }
    let mut normal = String::with_capacity(decoded.len());
    for element in &elements {
        normal.push('/');
        normal.push_str(element);
    }
    if directory || elements.is_empty() {
        normal.push('/');
    }
    Cow::Owned(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_compared_as_nginx_does() {
        let cases = [
            ("/", "/"),
            ("/a/b/", "/a/b/"),
            ("/%65xact", "/exact"),
            ("/a%2Fb", "/a/b"),
            ("//a///b//", "/a/b/"),
            ("/a/./b/.", "/a/b/"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/../../a", "/a"),
            ("/a/%2e%2e/b", "/b"),
            ("/%", "/%"),
            ("/%zz", "/%zz"),
            ("/%C3%A9", "/é"),
            ("/.well-known/x", "/.well-known/x"),
            ("/a..b", "/a..b"),
        ];
        for (sent, compared) in cases {
            assert_eq!(normal(sent), compared, "{sent}");
        }
    }
}
