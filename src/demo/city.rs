//! The cities a demo can be run on.

/// A city, or a province of cities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DemoCity {
    /// Name on the command line and of the registry.
    pub name: &'static str,
    /// Its area.
    pub root: &'static str,
    /// Its name.
    pub zh: &'static str,
}

/// All of them.
pub const CITIES: [DemoCity; 5] = [
    DemoCity {
        name: "huzhou",
        root: "3305",
        zh: "湖州市",
    },
    DemoCity {
        name: "changzhou",
        root: "3204",
        zh: "常州市",
    },
    DemoCity {
        name: "fuzhou",
        root: "3501",
        zh: "福州市",
    },
    DemoCity {
        name: "beijing",
        root: "11",
        zh: "北京市",
    },
    DemoCity {
        name: "guangdong",
        root: "44",
        zh: "广东省",
    },
];

/// The city of that name.
pub fn find(name: &str) -> Option<DemoCity> {
    CITIES.into_iter().find(|city| city.name == name)
}
